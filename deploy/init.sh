#!/bin/sh
# What has to be done before Airflow's parts start. It runs at each start, and so after each upgrade.
set -eu
airflow db migrate
# Airflow's simple auth manager reads passwords from a file, makes up those that are missing and prints them.
umask 077
python -c 'import json, os; print(json.dumps({"admin": os.environ["ADMIN_PASSWORD"]}))' \
    >"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
