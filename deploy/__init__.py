"""The servers of a cluster mesh, started on one machine: for trying it out and for the tests."""
