# The role verifier of every key set below secret/rotator; written by `rotator policy`.

# the verification document
path "secret/data/rotator/+/verification" {
  capabilities = ["read"]
}
