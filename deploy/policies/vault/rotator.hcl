# The role rotator of every key set below secret/rotator; written by `rotator policy`.

# the ring
path "secret/data/rotator/+/ring" {
  capabilities = ["create", "read", "update"]
}

# advice about the ring
path "secret/metadata/rotator/+/ring" {
  capabilities = ["read"]
}

# material, written once
path "secret/data/rotator/+/material/*" {
  capabilities = ["create", "read"]
}

# destroying material
path "secret/destroy/rotator/+/material/*" {
  capabilities = ["update"]
}

# removing what is left of it
path "secret/metadata/rotator/+/material/*" {
  capabilities = ["delete"]
}

# a document
path "secret/data/rotator/+/signing" {
  capabilities = ["create", "read", "update"]
}

# destroying its earlier versions
path "secret/destroy/rotator/+/signing" {
  capabilities = ["update"]
}

# removing a document
path "secret/metadata/rotator/+/signing" {
  capabilities = ["delete"]
}

# a document
path "secret/data/rotator/+/verification" {
  capabilities = ["create", "read", "update"]
}

# destroying its earlier versions
path "secret/destroy/rotator/+/verification" {
  capabilities = ["update"]
}

# removing a document
path "secret/metadata/rotator/+/verification" {
  capabilities = ["delete"]
}

# a document
path "secret/data/rotator/+/jwks" {
  capabilities = ["create", "read", "update"]
}

# removing a document
path "secret/metadata/rotator/+/jwks" {
  capabilities = ["delete"]
}

# a document
path "secret/data/rotator/+/verification.*" {
  capabilities = ["create", "read", "update"]
}

# destroying its earlier versions
path "secret/destroy/rotator/+/verification.*" {
  capabilities = ["update"]
}

# removing a document
path "secret/metadata/rotator/+/verification.*" {
  capabilities = ["delete"]
}

# a document
path "secret/data/rotator/+/notify" {
  capabilities = ["create", "read", "update"]
}

# removing a document
path "secret/metadata/rotator/+/notify" {
  capabilities = ["delete"]
}

# `rotator check --write`
path "secret/data/rotator/rotator-check/*" {
  capabilities = ["create", "read", "update"]
}

# `rotator check --write`
path "secret/destroy/rotator/rotator-check/*" {
  capabilities = ["update"]
}

# `rotator check --write`
path "secret/metadata/rotator/rotator-check/*" {
  capabilities = ["delete", "list"]
}

# advice about the engine's settings
path "secret/config" {
  capabilities = ["read"]
}

# knowing how long the token lasts
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# renewing it
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# ending it when done
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# `rotator check`
path "sys/capabilities-self" {
  capabilities = ["update"]
}
