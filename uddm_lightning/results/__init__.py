"""The tables that a run and a sweep leave, and their readers."""
