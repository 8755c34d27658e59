"""From tables to the size at which a model stops memorizing."""
