"""From the predictions table to metrics, figures and the report."""
