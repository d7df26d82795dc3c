"""Tests of one deployment of Airflow, which ends with the last of them."""
