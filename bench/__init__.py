"""How fast it is: a load generator and the peers that it is measured against."""
