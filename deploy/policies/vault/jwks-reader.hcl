# The role jwks-reader of every key set below secret/rotator; written by `rotator policy`.

# the ring: public halves only
path "secret/data/rotator/+/ring" {
  capabilities = ["read"]
}

# the jwks document
path "secret/data/rotator/+/jwks" {
  capabilities = ["read"]
}
