"""Views, drains and what an operator hears of the cluster."""
