package ikev1

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Cause says why a negotiation came to nothing. It is one of a small fixed set, to be used in metrics and by programs; [Cause.Explain]
// has the words for people.
type Cause string

// The causes of phase 1.
const (
	CauseNoProposal         Cause = "no_proposal"           // nothing in common
	CauseLegacyProposal     Cause = "legacy_proposal"       // nothing in common, and the client has nothing but weak algorithms
	CauseAndroidMODP1024    Cause = "android_modp1024"      // the same, of an Android, which knows only group 2
	CauseAuthMethod         Cause = "auth_method"           // the client wants another way to authenticate
	CauseAggressiveMode     Cause = "aggressive_mode"       // the client begins with Aggressive Mode
	CauseUnknownGroup       Cause = "unknown_group"         // the client begins with Aggressive Mode and names no group of ours
	CauseIKEv2              Cause = "ikev2"                 // the client begins with IKEv2
	CauseAggressiveLimit    Cause = "aggressive_limit"      // too many of them in a second
	CauseMessage3Lost       Cause = "message_3_lost"        // the client stopped after message 2 of Aggressive Mode
	CauseNoPSK              Cause = "no_psk"                // there is no pre-shared key for this peer
	CausePSKMismatch        Cause = "psk_mismatch"          // what has to prove the pre-shared key does not
	CauseKeyExchange        Cause = "key_exchange"          // the Diffie-Hellman failed, also that of PFS in phase 2
	CauseMessage5Lost       Cause = "message_5_lost"        // the client stopped after message 4
	CausePort4500Blocked    Cause = "nat_port_4500_blocked" // the same, where the client has to go on at port 4500
	CauseWindowsBehindNAT   Cause = "windows_behind_nat"    // the same, or no Quick Mode, of a Windows that sees the server behind a NAT
	CauseTooManyClients     Cause = "too_many_clients"      // of one address, or of all
	CauseHalfOpen           Cause = "half_open"             // too many handshakes under way
	CauseNoCertificate      Cause = "no_certificate"
	CauseBadCertificate     Cause = "bad_certificate" // it cannot be read, or exceeds a limit
	CauseCertificateExpired Cause = "certificate_expired"
	CauseCertificateFuture  Cause = "certificate_not_yet_valid"
	CauseCertificateRevoked Cause = "certificate_revoked"
	CauseUntrusted          Cause = "certificate_untrusted" // no chain to an authority that is trusted
	CauseRevocationUnknown  Cause = "revocation_unknown"    // nobody can tell whether the certificate is revoked
	CauseBadSignature       Cause = "bad_signature"
	CauseUnknownIdentity    Cause = "unknown_identity" // no rule allows the certificate's identity
	CauseInternal           Cause = "internal"
)

// The causes of phase 1 that we began.
const (
	CausePeerSilent   Cause = "peer_silent"
	CausePeerRefuses  Cause = "peer_refuses" // or somebody in its name: nothing authenticates it
	CauseMessage6Lost Cause = "message_6_lost"
	CauseProofRefused Cause = "proof_refused" // the peer does not accept message 5
)

// The causes of phase 2.
const (
	CauseNoESPProposal     Cause = "no_esp_proposal" // nothing in common
	CauseEncapsulationMode Cause = "wrong_encapsulation_mode"
	CausePFSGroup          Cause = "pfs_group"
	CauseSelectors         Cause = "wrong_selectors" // the client wants to protect other traffic than L2TP
	CauseInstall           Cause = "install"         // an SA could not be installed
	CauseNoSlot            Cause = "no_slot"         // the server has no room for another client
	CauseQuickMessage3Lost Cause = "quick_message_3_lost"
	CauseQuickRefused      Cause = "quick_mode_refused"  // the peer does not accept what we began
	CauseNoQuickMode       Cause = "no_quick_mode"       // the client stopped after phase 1
	CauseExchange          Cause = "exchange_not_served" // the client asks for an exchange that L2TP/IPsec has no use for

	// CauseSHA256Truncation is for the owner, who alone sees ESP: the client cuts HMAC-SHA2-256 off after 96 bits.
	CauseSHA256Truncation Cause = "sha256_truncation"
)

// Facts are what is known of one failure: they fill the blanks in the text and the hint of its cause. What is not known stays empty.
type Facts struct {
	Client   netip.Addr // the client's outer address
	Kind     string     // the client's likely kind, as in [ClientInfo]
	Identity string     // who the client says it is
	Proposal string     // what the client offers and the server could allow: a proposal, or a group for PFS
	Setting  string     // the key of the configuration to change, where that is not always the same
	Profile  string     // the profile of the configuration that would allow it, if one is in use
	Limit    int        // that limit
	Detail   string     // what exactly is wrong
}

// explanation is what there is to say about a cause. Of the cures, the first is given that is meant for this kind of client and whose
// blanks can all be filled.
type explanation struct {
	text  string // with ": {detail}" added if there is a detail and no blank for it
	cures []cure
}

type cure struct{ kind, text string } // kind: empty for all

// always are cures for every client.
func always(texts ...string) (list []cure) {
	for _, text := range texts {
		list = append(list, cure{text: text})
	}
	return list
}

const registryKey = `HKLM\SYSTEM\CurrentControlSet\Services\PolicyAgent\AssumeUDPEncapsulationContextOnSendRule`

// explanations has all the words for all the causes, and what would cure each: one setting here, or one step at the client.
var explanations = map[Cause]explanation{
	CauseNoProposal: {"no phase 1 proposal in common", always(
		"set ike.profile to {profile} to accept {proposal}, or change the settings of the client",
		"allow {proposal} in phase 1 (ike.proposals) beside what others need, or change the settings of the client",
		"the client offers only algorithms that are not supported: enable AES with SHA-1 or SHA-2 there")},
	CauseLegacyProposal: {"no phase 1 proposal in common: the client has nothing better than {proposal}", always(
		"add {proposal} to {setting}, or enable AES with group 14 (modp2048) on the client",
		"set ike.profile to legacy to accept it, or enable AES with group 14 (modp2048) on the client")},
	CauseAndroidMODP1024: {"no phase 1 proposal in common: this Android knows no other group than modp1024", always(
		"add {proposal} to {setting}: an Android of version 11 or older has no setting for the group",
		"set ike.profile to legacy: an Android of version 11 or older has no setting for the group")},
	CauseAuthMethod: {"no phase 1 proposal in common: the client wants to authenticate by {detail}", always(
		"configure {setting} if this server is to do so too, or set the client to another way",
		"set the client to a pre-shared key or a certificate, as for L2TP/IPsec, and to nothing besides")},
	CauseAggressiveMode: {"the client begins with Aggressive Mode, which is off", []cure{
		{"android", "clear the IPSec identifier in the VPN profile of the client"},
		{"apple", "clear the group name in the VPN settings of the client"},
		{"", "set the client to Main Mode; phones and Macs use it when their group name or IPSec identifier is empty"}}},
	CauseIKEv2: {"the client begins with IKEv2, which this server does not speak", always(
		"set the client to L2TP/IPsec (on Windows, instead of the type Automatic), or to IKEv1")},
	CauseUnknownGroup: {"the client begins with Aggressive Mode in the name of no group of this server", []cure{
		{"android", "clear the IPSec identifier in the VPN profile of the client, or add {identity} to ike.groups"},
		{"apple", "clear the group name in the VPN settings of the client, or add {identity} to ike.groups"},
		{"", "set the client to Main Mode, or add {identity} to ike.groups"},
		{"", "set the client to Main Mode, or to the name of one of ike.groups"}}},
	CauseAggressiveLimit: {"more than {limit} clients began with Aggressive Mode in one second", always(
		"set the clients to Main Mode: in Aggressive Mode anybody can make the server work, so that it has to stop somewhere")},
	CauseMessage3Lost: {"message 3 of Aggressive Mode did not arrive", always(
		"compare the pre-shared key of the client with that of the group {identity}: a client that has another one stops here; UDP port 4500 has to reach this server",
		"compare the pre-shared key of the client with that of its group: a client that has another one stops here; UDP port 4500 has to reach this server")},
	CauseNoPSK: {"no pre-shared key for this peer", always(
		"configure a pre-shared key that applies to the address {client} (ike.psk or ike.keys)")},
	CausePSKMismatch: {"probable PSK mismatch: the client does not prove the pre-shared key", always(
		"compare the pre-shared key of the client with the one configured for the group {identity} (ike.groups)",
		"compare the pre-shared key of the client with the one configured for {client}")},
	CauseKeyExchange: {"the Diffie-Hellman exchange failed", always(
		"the client sent a bad public value, or something on the path changed it: try another group (ike.proposals)")},
	CauseMessage5Lost: {"message 5 did not arrive", always(
		"the client has refused message 4, or lost its way to this server: its own log says more; UDP ports 500 and 4500 have to reach this server")},
	CausePort4500Blocked: {"message 5 did not arrive: behind a NAT, and with ike.force_encapsulation, the client sends it to UDP port 4500", always(
		"let UDP port 4500 reach this server: open it in firewalls and forward it where port 500 is forwarded")},
	CauseWindowsBehindNAT: {"Windows went no further because this server is behind a NAT (error 809): {detail}", always(
		"on the client set the DWORD " + registryKey + " to 2 and restart Windows")},
	CauseTooManyClients: {"there are {limit} clients already", always(
		"raise {setting} if that many are really behind {client}",
		"this server is full: direct clients to another one")},
	CauseHalfOpen: {"{limit} handshakes are under way already", always(
		"raise {setting} if that many clients connect at a time",
		"raise the limit of handshakes if that many clients connect at a time")},
	CauseNoCertificate: {"the client sent no certificate", []cure{
		{"windows", "install a certificate with its private key for the local computer, not for the user, on the client"},
		{"", "install a certificate with its private key on the client and choose it in the VPN settings"}}},
	CauseBadCertificate: {"the client's certificate cannot be used", always(
		"issue a certificate for the client that keeps to RFC 5280, with an RSA or ECDSA key")},
	CauseCertificateExpired: {"the client's certificate has expired", always(
		"issue a new certificate for {identity}", "issue a new certificate for the client")},
	CauseCertificateFuture: {"the client's certificate is not valid yet", always(
		"set the clock of the machine that issues certificates, or that of this server")},
	CauseCertificateRevoked: {"the client's certificate was revoked", always(
		"issue a new certificate if {identity} is to be let in again", "issue a new certificate if the client is to be let in again")},
	CauseUntrusted: {"no chain leads from the client's certificate to a trusted authority", always(
		"add the authority that issued it to ike.authorities; the client has to send intermediate certificates itself")},
	CauseRevocationUnknown: {"nobody can tell whether the client's certificate was revoked", always(
		"make its CRL or OCSP responder reachable (ike.crls, ike.ocsp), or set ike.revocation to soft")},
	CauseBadSignature: {"the client's signature does not belong to its certificate", always(
		"install a certificate together with the private key that was made for it on the client")},
	CauseUnknownIdentity: {"no rule allows the client's certificate", always(
		`add "{identity}" to ike.allow, with the quotation marks`, "add a rule for it to ike.allow")},
	CauseInternal: {"the server failed", always(
		"look into the log of the daemon")},

	CausePeerSilent: {"the peer does not answer", always(
		"check the address, and that UDP ports 500 and 4500 reach {client} and back")},
	CausePeerRefuses: {"the peer answered {detail}, not authenticated", always(
		"compare the proposals and the way to authenticate with those of the peer")},
	CauseMessage6Lost: {"the peer does not answer message 5", always(
		"compare the pre-shared keys, or let the peer trust our certificate; UDP port 4500 has to pass if there is a NAT")},
	CauseProofRefused: {"the peer does not accept message 5", always(
		"let the peer trust our certificate, and allow its identity; or compare the pre-shared keys")},

	CauseNoESPProposal: {"no phase 2 proposal in common", always(
		"set ike.profile to {profile} to accept {proposal}, or change the settings of the client",
		"allow {proposal} in phase 2 (ike.esp_proposals) beside what others need, or change the settings of the client",
		"the client offers only algorithms that are not supported: enable AES with SHA-1 or SHA-2 for ESP there")},
	CauseEncapsulationMode: {"no phase 2 proposal in common: the client asks for {detail}, which does not fit its path", always(
		"set the client to transport mode, with NAT traversal left to itself")},
	CausePFSGroup: {"no phase 2 proposal in common: {detail}", always(
		"set ike.profile to {profile} to accept it, or switch PFS off in the client",
		"allow PFS with {proposal} (ike.pfs_groups) beside what others need, or switch PFS off in the client",
		"switch PFS off in the client")},
	CauseSelectors: {"the client does not ask for L2TP: {detail}", always(
		"the client has to protect UDP traffic to port 1701 of this server, in transport mode")},
	CauseInstall: {"an SA could not be installed", always(
		"the log of the daemon says what the kernel refused; l2tpctl doctor what it lacks")},
	CauseNoSlot: {"this server is full", always(
		"enlarge the block of ports (slots.port_base, slots.port_mask), or direct clients to another server")},
	CauseQuickMessage3Lost: {"Quick Mode message 3 did not arrive", always(
		"the client may have refused message 2: its own log says why")},
	CauseQuickRefused: {"the peer did not accept our Quick Mode", always(
		"compare the proposals for ESP and the ports with those of the peer")},
	CauseExchange: {"the client asks for something that L2TP/IPsec does not have: {detail}", always(
		"set the client to L2TP/IPsec, without XAUTH, Mode Config (IKEv1 with addresses by IPsec) and New Group Mode")},
	CauseNoQuickMode: {"the client began no Quick Mode after phase 1", always(
		"the client may have refused the certificate of this server ({setting}): it has to trust the authority that issued it, and the name that it calls has to be in it",
		"the client may have refused the identity of this server in message 6: let it accept any (rightid=%any on Linux)")},

	CauseSHA256Truncation: {"not one ESP packet of the client was intact: it cuts HMAC-SHA2-256 off after 96 bits", []cure{
		{"android", "set ike.sha256_96 to android"},
		{"", "set ike.sha256_96 to all if every client that uses SHA-256 for ESP does so, else remove sha256 from ike.esp_proposals"}}},
}

// Causes returns the set, sorted.
func Causes() []Cause { return slices.Sorted(maps.Keys(explanations)) }

// Explain returns what happened in words, and the one setting or the one step at the client that would cure it. The hint is empty
// only for a cause that is not one of the set, whose text is its own name.
func (c Cause) Explain(f Facts) (text, hint string) {
	x, ok := explanations[c]
	if !ok {
		return strings.TrimSuffix(string(c)+": "+f.Detail, ": "), ""
	}
	text = x.text
	if f.Detail != "" && !strings.Contains(text, "{detail}") {
		text += ": {detail}"
	}
	blanks := f.blanks()
	var pairs []string
	for blank, value := range blanks {
		pairs = append(pairs, blank, value)
	}
	fill := strings.NewReplacer(pairs...)
	for _, a := range x.cures {
		if (a.kind == "" || a.kind == f.Kind) && complete(a.text, blanks) {
			hint = fill.Replace(a.text)
			break
		}
	}
	return fill.Replace(text), hint
}

// blanks returns the value of each blank, empty if it is not known.
func (f Facts) blanks() map[string]string {
	m := map[string]string{
		"{client}": "", "{identity}": f.Identity, "{proposal}": f.Proposal, "{setting}": f.Setting, "{profile}": f.Profile,
		"{limit}": strconv.Itoa(f.Limit), "{detail}": f.Detail,
	}
	if f.Client.IsValid() {
		m["{client}"] = f.Client.String()
	}
	return m
}

// complete says whether all blanks of a text have a value.
func complete(text string, blanks map[string]string) bool {
	for blank, value := range blanks {
		if value == "" && strings.Contains(text, blank) {
			return false
		}
	}
	return true
}
