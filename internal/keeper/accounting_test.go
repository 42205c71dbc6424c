package keeper

import (
	"testing"

	"layeh.com/radius"
)

// TestAcknowledgement asks as pppd does, with a library that checks the answer.
func TestAcknowledgement(t *testing.T) {
	const secret = "a secret"
	p := radius.New(radius.CodeAccountingRequest, []byte(secret))
	request, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if answer := acknowledgement(request, secret); !radius.IsAuthenticResponse(answer, request, []byte(secret)) || answer[0] != byte(radius.CodeAccountingResponse) {
		t.Errorf("the answer is %x", answer)
	}
	if answer := acknowledgement(request, "another secret"); radius.IsAuthenticResponse(answer, request, []byte(secret)) {
		t.Error("any secret will do")
	}
	request[0] = byte(radius.CodeAccessRequest)
	for _, strange := range [][]byte{nil, request[:19], request} {
		if answer := acknowledgement(strange, secret); answer != nil {
			t.Errorf("%x is answered with %x", strange, answer)
		}
	}
}
