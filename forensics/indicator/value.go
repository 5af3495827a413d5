package indicator

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// errSkip is wrapped by the reasons for which an indicator cannot be used. Other errors mean that it is not one.
var errSkip = errors.New("")

func skip(reason string) error { return fmt.Errorf("%s%w", reason, errSkip) }

// Reasons for leaving out.
var (
	errPrivate = skip("private, local or multicast address")
	errWide    = skip("network that is too wide to mean anything")
	errSuffix  = skip("suffix under which anybody can register a domain")
	errType    = skip("of a type that is not supported")
	errPattern = skip("pattern that needs more than one value of a packet")
	errContext = skip("not meant for detection (to_ids)")
	errRevoked = skip("revoked or deleted")
	errNever   = skip("valid at no time")
)

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // of carrier NAT, RFC 6598

// public reports whether an address means the same machine everywhere.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// fangs are the ways in which people write indicators so that nobody clicks on them.
var fangs = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[DOT]", ".", "(DOT)", ".", "[:]", ":", "[://]", "://", "[/]", "/",
	"[@]", "@", "(@)", "@", "[at]", "@", "(at)", "@", "[AT]", "@", "(AT)", "@", `\.`, ".")

// refang writes an indicator as it is in traffic.
func refang(s string) string {
	s = strings.Trim(s, " \t\r\"'`<>")
	if strings.ContainsAny(s, `[({\`) {
		s = fangs.Replace(s)
	}
	if len(s) > 4 && (s[0]|0x20) == 'h' && (s[1]|0x20) == 'x' && (s[2]|0x20) == 'x' && (s[3]|0x20) == 'p' {
		return "http" + s[4:]
	}
	if len(s) > 4 && (s[0]|0x20) == 'f' && (s[1]|0x20) == 'x' && (s[2]|0x20) == 'p' {
		return "ftp" + s[3:]
	}
	return s
}

// read brings a value of a kind into its form.
func read(k Kind, text string) (value, error) {
	if k == UserAgent {
		if text = strings.Trim(text, " \t\r"); text == "" {
			return value{}, errors.New("the user agent is empty")
		}
		return value{kind: k, text: text}, nil
	}
	s := refang(text)
	switch k {
	case Address:
		return address(s)
	case Domain:
		if _, err := netip.ParseAddr(s); err == nil { // a host may be an address
			return address(s)
		}
		return domain(s)
	case URL:
		return location(s)
	case Mail:
		return mail(s)
	case JA4:
		if !ja4.MatchString(s) {
			return value{}, wrong(text, "a JA4 fingerprint such as t13d1516h2_8daaf6152771_e5627efa2ab1")
		}
		return value{kind: k, text: s}, nil
	}
	return digest(k, s)
}

// wrong is the error of a value that is not of its kind.
func wrong(text, form string) error {
	return fmt.Errorf("%q is not %s", clip.Line([]byte(text), 80), form)
}

func address(s string) (value, error) {
	v := value{kind: Address}
	a, err := netip.ParseAddr(s)
	switch {
	case err == nil:
	case strings.Contains(s, "/"):
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return v, wrong(s, "an address or a network such as 203.0.113.0/24")
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		v.prefix = p.Masked()
		switch bits := p.Bits(); {
		case p.Addr().Is4() && bits < widest4 || p.Addr().Is6() && bits < widest6:
			return v, errWide
		case !public(v.prefix.Addr()):
			return v, errPrivate
		}
		return v, nil
	default:
		at, err := netip.ParseAddrPort(s)
		if err != nil {
			return v, wrong(s, "an address or a network such as 203.0.113.0/24")
		}
		a, v.port = at.Addr(), at.Port()
	}
	if a = a.Unmap(); a.Zone() != "" || !public(a) {
		return v, errPrivate
	}
	v.prefix = netip.PrefixFrom(a, a.BitLen())
	return v, nil
}

// domain reads the name of a host or domain.
func domain(s string) (value, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(s, "*"), "."), ".")
	port := uint16(0)
	if host, after, ok := strings.Cut(name, ":"); ok {
		n, err := strconv.ParseUint(after, 10, 16)
		if err != nil {
			return value{}, wrong(s, "a domain")
		}
		name, port = host, uint16(n)
	}
	name, ok := canonical(name)
	if !ok {
		return value{}, wrong(s, "a domain")
	}
	if strings.Count(name, ".") <= 3 {
		if suffix, icann := publicsuffix.PublicSuffix(name); icann && suffix == name {
			return value{}, errSuffix
		}
	}
	return value{kind: Domain, text: name, port: port}, nil
}

// canonical is a name of a host in lower case and ASCII. It returns false if there can be no such host outside.
func canonical(name string) (string, bool) {
	plain := true
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		case c >= 'A' && c <= 'Z':
			plain = false
		case c >= 0x80:
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil {
				return "", false
			}
			return canonical(ascii)
		default:
			return "", false
		}
	}
	if !plain {
		name = strings.ToLower(name)
	}
	last := strings.LastIndexByte(name, '.')
	if len(name) > 253 || last <= 0 || last == len(name)-1 || name[0] == '.' || strings.Contains(name, "..") {
		return "", false
	}
	end := name[last+1:]
	if c := end[0]; c < 'a' || c > 'z' { // no top-level domain begins with a digit: RFC 3696 section 2
		return "", false
	}
	return name, true
}

// location reads a URL. The scheme does not count, because a list often has another one than the traffic.
func location(s string) (value, error) {
	const form = "a URL such as http://host.example/path"
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	scheme, host, port, ok := authority(s)
	if !ok {
		return value{}, wrong(s, form)
	}
	if scheme != "http" && scheme != "https" {
		return value{}, skip("URL of " + clip.Line([]byte(scheme), 20))
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !public(a.Unmap()) {
			return value{}, errPrivate
		}
		host = a.Unmap().String()
	} else if name, ok := canonical(strings.TrimSuffix(host, ".")); ok {
		host = name
	} else {
		return value{}, wrong(s, form)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && port != "80" && port != "443" {
		host += ":" + port
	}
	// The path as written: net/url would decode some of it.
	_, rest, _ := strings.Cut(s, "://")
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	path := "/"
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		path = rest[at:]
	}
	return value{kind: URL, text: urlKey(host, path, query)}, nil
}

// authority returns the parts of a URL before its path, in lower case.
func authority(s string) (scheme, host, port string, ok bool) {
	scheme, rest, _ := strings.Cut(s, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if plain := strings.Trim(strings.ToLower(rest), "abcdefghijklmnopqrstuvwxyz0123456789.-_"); plain == "" && rest != "" && (scheme == "http" || scheme == "https") {
		return scheme, strings.ToLower(rest), "", true // nearly all; what follows takes five times as long
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", "", "", false
	}
	return strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port(), true
}

// urlKey is the form in which URLs are compared, RFC 3986 section 6.2.2.
func urlKey(host, path, query string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	host = strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
	if path == "" {
		path = "/"
	}
	key := host + escapes(path)
	if query != "" {
		key += "?" + escapes(query)
	}
	return key
}

// escapes writes escapes with capital digits, and those of letters, digits, -, ., _ and ~ as characters.
func escapes(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				if c := byte(n); c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("-._~", c) >= 0 {
					b.WriteByte(c)
				} else {
					b.WriteString(strings.ToUpper(s[i : i+3]))
				}
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func mail(s string) (value, error) {
	s = strings.TrimPrefix(strings.ToLower(s), "mailto:")
	local, host, ok := strings.Cut(s, "@")
	name, good := canonical(host)
	if !ok || local == "" || !good || strings.ContainsAny(local, " \t,;<>") {
		return value{}, wrong(s, "a mail address")
	}
	return value{kind: Mail, text: local + "@" + name}, nil
}

var inText = regexp.MustCompile(`[^\s<>,;:"'()\[\]@]+@[A-Za-z0-9._-]+`)

// addressesIn returns the mail addresses in a text, in lower case.
func addressesIn(text string) (list []string) {
	for _, a := range inText.FindAllString(text, 1000) {
		list = append(list, strings.TrimRight(strings.ToLower(a), "."))
	}
	return list
}

var ja4 = regexp.MustCompile(`^[tqd](s2|s3|1[0-3]|d[1-3]|00)[di][0-9]{4}[0-9a-zA-Z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)

// Lengths of hashes in hexadecimal digits.
const (
	lengthMD5    = 32
	lengthSHA1   = 40
	lengthSHA256 = 64
)

// digest reads a hash. Its length decides the method.
func digest(k Kind, s string) (value, error) {
	if strings.ContainsAny(s, ": -") {
		s = strings.NewReplacer(":", "", " ", "", "-", "").Replace(s)
	}
	s = strings.ToLower(s)
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return value{}, wrong(s, "a hash in hexadecimal digits")
		}
	}
	switch n := len(s); {
	case n == lengthMD5:
		return value{kind: k, text: s}, nil
	case (n == lengthSHA1 || n == lengthSHA256) && (k == File || k == Certificate || k == Any):
		return value{kind: k, text: s}, nil
	case (n == 56 || n == 96 || n == 128) && (k == File || k == Certificate || k == Any):
		return value{}, skip("hash that is not MD5, SHA-1 or SHA-256")
	}
	if k == File || k == Certificate || k == Any {
		return value{}, wrong(s, "a hash of 32 (MD5), 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")
	}
	return value{}, wrong(s, "a fingerprint of 32 hexadecimal digits")
}

func hexadecimal(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// guess reads a value whose kind follows from its form, or from a word before it, as in ja3:HASH.
func guess(text string) (value, error) {
	s := strings.TrimSpace(text)
	if n := len(s); (n == lengthMD5 || n == lengthSHA1 || n == lengthSHA256) && hexadecimal(s) {
		return digest(Any, s)
	}
	if word, rest, ok := strings.Cut(s, ":"); ok && !strings.HasPrefix(rest, "//") && !strings.ContainsAny(word, ".[") {
		if k, known := kindOf(word); known {
			return read(k, strings.TrimSpace(rest))
		}
	}
	s = refang(s)
	if s == "" {
		return value{}, errors.New("the value is empty")
	}
	if c := s[0]; c >= '0' && c <= '9' || c == ':' || c == '[' || hexadecimal(s[:1]) && strings.Contains(s, ":") {
		if v, err := address(s); err == nil || errors.Is(err, errSkip) {
			return v, err
		}
	}
	switch {
	case strings.Contains(s, "://"), strings.Contains(s, "/") && !strings.Contains(s, " "):
		return location(s)
	case strings.Contains(s, "@"):
		return mail(s)
	case ja4.MatchString(s):
		return read(JA4, s)
	case strings.Count(s, ":") > 3 && hexadecimal(strings.ReplaceAll(s, ":", "")):
		return digest(Any, s)
	}
	v, err := domain(s)
	if err != nil && !errors.Is(err, errSkip) {
		return v, wrong(text, "an address, network, domain, URL, mail address, hash or fingerprint; write user-agent: before a user agent")
	}
	return v, err
}

// kindOf is the kind that the words of lists mean: those of people, MISP, STIX, Zeek, ThreatFox and OTX.
func kindOf(word string) (Kind, bool) {
	k, ok := kinds[dashes.Replace(strings.ToLower(strings.TrimSpace(word)))]
	return k, ok
}

var dashes = strings.NewReplacer("_", "-", " ", "-")

var kinds = words(map[Kind]string{
	Address:     "ip ip-src ip-dst ipv4 ipv6 ipv4-addr ipv6-addr address addr ip-address cidr network netblock subnet ip:port ipv4:port ip-src|port ip-dst|port intel::addr intel::subnet dst-ip src-ip dstip srcip ioc-ip",
	Domain:      "domain hostname host fqdn domain-name hostname|port intel::domain",
	URL:         "url uri urls link intel::url",
	Mail:        "email email-src email-dst email-addr email-address mail e-mail email-reply-to intel::email",
	File:        "md5 sha1 sha256 sha-1 sha-256 filehash-md5 filehash-sha1 filehash-sha256 md5-hash sha1-hash sha256-hash file-hash file intel::file_hash intel::file-hash",
	Certificate: "certificate cert cert-sha1 cert-sha256 x509-fingerprint-sha1 x509-fingerprint-sha256 x509-fingerprint-md5 sslcert-sha1 ssl-cert intel::cert_hash intel::cert-hash",
	JA3:         "ja3 ja3-md5 ja3-hash ja3-fingerprint-md5 intel::ja3",
	JA3S:        "ja3s ja3s-md5 ja3s-hash ja3s-fingerprint-md5",
	JA4:         "ja4 ja4-fingerprint",
	HASSH:       "hassh hassh-md5 hasshserver hasshserver-md5 hassh-server",
	UserAgent:   "user-agent useragent agent http-user-agent intel::software",
	Any:         "hash fingerprint",
})

func words(of map[Kind]string) map[string]Kind {
	out := map[string]Kind{}
	for k, list := range of {
		for _, w := range strings.Fields(list) {
			out[w] = k
		}
	}
	return out
}
