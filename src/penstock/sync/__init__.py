"""The collector's side of sync: a folder of records to a service, without the private parts."""
