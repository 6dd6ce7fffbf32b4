"""Views, drains, and the state of the cluster for operators."""
