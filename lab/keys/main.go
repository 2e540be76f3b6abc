// handshakes is a TLS server and its clients in one process, for lab/keys.sh: it makes connections of TLS 1.2 and 1.3, some
// resumed, and can write the key log that crypto/tls itself offers, to compare with.
//
// usage: handshakes COUNT [KEYLOG]   waits for a line on standard input before it begins
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	check(err)
	var log io.Writer
	if len(os.Args) > 2 {
		file, err := os.Create(os.Args[2])
		check(err)
		defer file.Close()
		log = file
	}
	// The server writes no log: its secrets are those of the client.
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
	check(err)
	go serve(listener)
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{
			InsecureSkipVerify: true,
			MinVersion:         version,
			MaxVersion:         version,
			KeyLogWriter:       log,
			ClientSessionCache: tls.NewLRUClientSessionCache(4),
			ServerName:         "localhost",
		}
		for number := 0; number < count; number++ {
			connection, err := tls.Dial("tcp", listener.Addr().String(), config)
			check(err)
			_, err = connection.Write([]byte("x"))
			check(err)
			_, err = io.ReadFull(connection, make([]byte, 1))
			check(err)
			connection.Close()
		}
	}
	fmt.Println("done")
}
