"""What the DAG files share. Imports neither the jobs nor anything that they need: tasks name jobs by path."""
