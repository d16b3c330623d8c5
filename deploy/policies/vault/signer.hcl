# The role signer of every key set below secret/rotator; written by `rotator policy`.

# the signing document
path "secret/data/rotator/+/signing" {
  capabilities = ["read"]
}
