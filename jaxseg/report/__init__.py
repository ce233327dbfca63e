"""Self-contained HTML pages: charts, tables and images from plain values, without a network."""
