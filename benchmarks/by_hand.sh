#!/bin/sh
# What people write today: a new key by openssl and four calls of the AWS CLI. Correct as far as it goes: verifiers
# read of the new key before signers do, the previous one stays published, and what signers read is looked at.
#
#     by_hand.sh PREFIX        with secrets PREFIX/signing and PREFIX/jwks, and `aws` in PATH
set -eu
umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

aws secretsmanager get-secret-value --secret-id "$1/jwks" --query SecretString --output text > before.json
current=$(sed 's/^{"keys":\[\({[^}]*}\).*$/\1/' before.json)

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem
openssl pkey -in private.pem -pubout -outform DER | tail -c 64 > point
x=$(head -c 32 point | base64url)
y=$(tail -c 32 point | base64url)
kid=$(printf '{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' "$x" "$y" | openssl dgst -sha256 -binary | base64url)

printf '{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"%s","x":"%s","y":"%s"},%s]}' \
    "$kid" "$x" "$y" "$current" > jwks.json
aws secretsmanager put-secret-value --secret-id "$1/jwks" --secret-string file://jwks.json > /dev/null

printf '{"kid":"%s","alg":"ES256","pem":"%s"}' "$kid" "$(awk '{printf "%s\\n", $0}' private.pem)" > signing.json
aws secretsmanager put-secret-value --secret-id "$1/signing" --secret-string file://signing.json > /dev/null

aws secretsmanager get-secret-value --secret-id "$1/signing" --query SecretString --output text > after.json
printf '\n' >> signing.json  # the CLI ends its output with a line feed
cmp -s signing.json after.json
