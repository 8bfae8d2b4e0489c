"""The checks: each measures, is judged, is shown. `registry` is the table of all of them."""
