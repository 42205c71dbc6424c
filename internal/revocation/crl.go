package revocation

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// MaxCRL bounds a CRL, in octets of the file or answer, as pki does. Each entry of a list takes about 40.
const MaxCRL = 4 << 20

// maxLists bounds the CRLs in one file or answer.
const maxLists = 16

// DecodeCRLs reads the CRLs (RFC 5280 section 5) of a file or an answer: one in DER, or up to 16 in PEM. Signatures are not
// verified.
func DecodeCRLs(data []byte) ([]*x509.RevocationList, error) {
	if len(data) > MaxCRL {
		return nil, fmt.Errorf("it has more than %d octets", MaxCRL)
	}
	var lists []*x509.RevocationList
	block, rest := pem.Decode(data)
	if block == nil {
		l, err := x509.ParseRevocationList(data)
		if err != nil {
			return nil, err
		}
		return append(lists, l), nil
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		if len(lists) == maxLists {
			return nil, fmt.Errorf("there are more than %d CRLs in it", maxLists)
		}
		l, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
	}
	if len(lists) == 0 {
		return nil, errors.New("it has no PEM block of type X509 CRL")
	}
	return lists, nil
}
