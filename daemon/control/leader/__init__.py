"""What the tick leader decides for the others: views, where runs go on, and when they are over."""
