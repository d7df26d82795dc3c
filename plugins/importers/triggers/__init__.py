"""What the triggerer does for us, beside Airflow's own triggers."""
