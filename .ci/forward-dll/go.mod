module forward-dll

go 1.26
