module penstock.example/peer

go 1.19
