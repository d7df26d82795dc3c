#!/bin/sh
# Runs once, when the warehouse's volume is new: a role that owns one database and is no superuser.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$WAREHOUSE_PASSWORD" <<'SQL'
create role importers login password :'password';
create database warehouse owner importers;
revoke connect on database warehouse from public;
SQL
