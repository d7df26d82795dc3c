"""Where this deployment of Airflow keeps what importers need."""
