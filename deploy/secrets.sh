#!/bin/sh
# Prints new secrets for docker-compose.yaml: `(umask 077; sh deploy/secrets.sh > .env)`. Back up ENCRYPTION_KEY: without
# it pseudonyms stop joining, and what is staged, quarantined or encrypted can't be read any more.
set -eu
hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
key() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
cat <<ENV
ADMIN_PASSWORD=$(hex 16)
METADATA_PASSWORD=$(hex 24)
WAREHOUSE_ADMIN_PASSWORD=$(hex 24)
WAREHOUSE_PASSWORD=$(hex 24)
WAREHOUSE_READER_PASSWORD=$(hex 24)
REDIS_PASSWORD=$(hex 24)
JWT_SECRET=$(hex 64)
API_SECRET_KEY=$(hex 32)
FERNET_KEY=$(key | tr '+/' '-_')
ENCRYPTION_KEY=$(key)
ENV
