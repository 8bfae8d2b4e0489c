"""The report: results.json and the arrays beside it become HTML, PDF, ChimeraX files and a table in the terminal.

Nothing here measures or judges; every number and every verdict comes from `veritem.results`.
"""
