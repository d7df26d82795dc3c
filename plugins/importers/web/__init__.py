"""Read-only pages in Airflow's web server: what a pipeline's tables hold, and what is in its quarantine."""
