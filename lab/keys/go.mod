module hopwire.test/handshakes

go 1.16
