#!/bin/sh
# Runs once, when the warehouse's volume is new: a role that owns one database and is no superuser, and one for the web
# pages, which sees the ledger and that there are tables, and not a row of them.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$WAREHOUSE_PASSWORD" --set looks="$WAREHOUSE_READER_PASSWORD" <<'SQL'
create role importers login password :'password';
create database warehouse owner importers;
revoke connect on database warehouse from public;
create role importers_reader login password :'looks';
alter role importers_reader set default_transaction_read_only = on;
grant connect on database warehouse to importers_reader;
\connect warehouse
set role importers;
create schema _importers;
grant usage on schema _importers to importers_reader;
alter default privileges in schema _importers grant select on tables to importers_reader;
alter default privileges grant usage on schemas to importers_reader;
SQL
