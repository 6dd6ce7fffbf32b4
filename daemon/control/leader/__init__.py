"""The tick leader's decisions: views, where runs resume, and when they end."""
