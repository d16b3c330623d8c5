# What an administrator of Vault does once (docs/stores/vault.md); here it may happen again at every start.
set -eu
vault policy write rotator /setup/rotator.hcl
vault auth list -format=json | grep -q '"approle/"' || vault auth enable approle
vault write auth/approle/role/rotator token_policies=rotator token_ttl=1h token_max_ttl=24h
umask 077
vault read -field=role_id auth/approle/role/rotator/role-id > /login/role-id
vault write -f -field=secret_id auth/approle/role/rotator/secret-id > /login/secret-id
chown -R 65532:65532 /login
