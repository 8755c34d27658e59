"""Types that packages exchange, errors, file writing and keyed random numbers, used by every other package."""
