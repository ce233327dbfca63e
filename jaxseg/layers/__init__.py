"""Building blocks that know no task: features -> features."""
