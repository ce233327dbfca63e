"""x -> x: layers that know no task."""
