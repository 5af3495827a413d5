package redact

import "strings"

// number checks for a match that begins at digit i. Without a match, end is where to continue.
func number(s string, i int, want kinds) (k kinds, start, end int, masked string) {
	n := span(s, i, len(s), digit)
	if want&kIBAN != 0 && n >= 2 {
		if start, end, masked := iban(s, i); end > 0 {
			return kIBAN, start, end, masked
		}
	}
	prev := before(s, i)
	if isAlnum(prev) || prev == '.' {
		if want&kTrack != 0 && stripeBefore(s, i) {
			if end, masked := card(s, i, n); end > 0 && track(s, end) > 0 {
				return kTrack, i, track(s, end), masked + " ***"
			}
		}
		return 0, 0, i + n, ""
	}
	if want&(kCard|kTrack) != 0 {
		if end, masked := card(s, i, n); end > 0 {
			if stripe := track(s, end); stripe > 0 && want&kTrack != 0 {
				return kTrack, i, stripe, masked + " ***"
			}
			if want&kCard != 0 {
				return kCard, i, end, masked
			}
		}
	}
	if want&kSSN != 0 && n == 3 && prev != '-' {
		if end, masked := ssn(s, i); end > 0 {
			return kSSN, i, end, masked
		}
	}
	if want&kPhone != 0 && n == 3 && prev != '-' && prev != '+' {
		if end, masked := phone(s, i); end > 0 {
			return kPhone, i, end, masked
		}
	}
	return 0, 0, i + n, ""
}

// groups are the ways to write card numbers in groups.
var groups = [...][]int{{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}}

// card checks for a card number at i, where a run of n digits begins.
func card(s string, i, n int) (end int, masked string) {
	if n >= 13 && n <= 19 {
		if next := after(s, i+n); isAlpha(next) || next == '.' && isDigit(after(s, i+n+1)) {
			return 0, ""
		}
		digits := s[i : i+n]
		if issued(digits) && luhn(digits) {
			return i + n, maskCard(digits)
		}
		return 0, ""
	}
	sep := after(s, i+4)
	if n != 4 || sep != ' ' && sep != '-' {
		return 0, ""
	}
	if m := span(s, i+5, 7, digit); m != 4 && m != 6 {
		return 0, ""
	}
	for _, g := range groups {
		digits, end := grouped(s, i, sep, g)
		if end > 0 && issued(digits) && luhn(digits) {
			return end, maskCard(digits)
		}
	}
	return 0, ""
}

// maxHolder is the longest name of a holder on a magnetic stripe (ISO/IEC 7813).
const maxHolder = 26

// stripeBefore reports whether track 1 of a magnetic stripe begins before its card number at i.
func stripeBefore(s string, i int) bool { return i > 1 && s[i-2] == '%' && s[i-1] == 'B' }

// track returns the end of a magnetic stripe whose card number ends at i: track 2 has a separator,
// track 1 the holder's name between two; both continue with expiry (4 digits), service code (3
// digits) and discretionary data. It returns 0 if there is none.
func track(s string, i int) int {
	switch after(s, i) {
	case '=':
	case '^':
		name := strings.IndexByte(s[i+1:min(len(s), i+2+maxHolder)], '^')
		if name < 0 {
			return 0
		}
		i += name + 1
	default:
		return 0
	}
	n := span(s, i+1, 40, digit)
	if n < 7 {
		return 0
	}
	return i + 1 + n
}

// grouped reads groups of digits with one kind of separator.
func grouped(s string, i int, sep byte, sizes []int) (digits string, end int) {
	start := i
	for j, size := range sizes {
		if j > 0 {
			if after(s, i) != sep {
				return "", 0
			}
			i++
		}
		if span(s, i, size+1, digit) != size {
			return "", 0
		}
		i += size
	}
	if isAlpha(after(s, i)) {
		return "", 0
	}
	return strings.ReplaceAll(s[start:i], string(rune(sep)), ""), i
}

// maskCard keeps the issuer and the last four digits, as PCI DSS 3.4.1 allows.
func maskCard(d string) string {
	var b strings.Builder
	for i := range len(d) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		if i >= 6 && i < len(d)-4 {
			b.WriteByte('*')
		} else {
			b.WriteByte(d[i])
		}
	}
	return b.String()
}

// luhn verifies the check digit (ISO/IEC 7812-1 annex B).
func luhn(d string) bool {
	sum := 0
	for i := range len(d) {
		x := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if x *= 2; x > 9 {
				x -= 9
			}
		}
		sum += x
	}
	return sum%10 == 0
}

// issuers are ranges of leading digits with the lengths of their cards.
var issuers = [...]struct {
	low, high string
	least     int
	most      int
}{
	{"4", "4", 13, 13}, {"4", "4", 16, 16}, {"4", "4", 19, 19}, // Visa
	{"51", "55", 16, 16}, {"2221", "2720", 16, 16}, // Mastercard
	{"34", "34", 15, 15}, {"37", "37", 15, 15}, // American Express
	{"6011", "6011", 16, 19}, {"644", "649", 16, 19}, {"65", "65", 16, 19}, // Discover
	{"300", "305", 14, 19}, {"3095", "3095", 14, 19}, {"36", "36", 14, 19}, {"38", "39", 14, 19}, // Diners
	{"3528", "3589", 16, 19}, {"62", "62", 16, 19}, // JCB, UnionPay
	{"5018", "5018", 16, 19}, {"5020", "5020", 16, 19}, {"5038", "5038", 16, 19}, {"5893", "5893", 16, 19}, // Maestro
	{"6304", "6304", 16, 19}, {"6759", "6759", 16, 19}, {"6761", "6763", 16, 19},
}

// issued reports whether an issuer has cards with these leading digits and this length.
func issued(d string) bool {
	for _, r := range issuers {
		if head := d[:len(r.low)]; head >= r.low && head <= r.high && len(d) >= r.least && len(d) <= r.most {
			return strings.Trim(d, d[:1]) != "" // 4444 4444 4444 4444 is not issued
		}
	}
	return false
}

// ssn checks for a social security number at digit i, which two more digits follow.
func ssn(s string, i int) (end int, masked string) {
	end = i + 11
	if end > len(s) || s[i+3] != '-' || s[i+6] != '-' || span(s, i+4, 3, digit) != 2 || span(s, i+7, 5, digit) != 4 {
		return 0, ""
	}
	if next := after(s, end); isAlnum(next) || next == '-' {
		return 0, ""
	}
	area, group, serial := s[i:i+3], s[i+4:i+6], s[i+7:end]
	if area == "000" || area == "666" || area[0] == '9' || group == "00" || serial == "0000" {
		return 0, ""
	}
	return end, "***-**-" + serial
}

// countries are the lengths of account numbers by country, from the IBAN registry.
const countries = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28" +
	"IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18" +
	"SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

func countryLength(code string) int {
	for i := 0; i < len(countries); i += 4 {
		if countries[i:i+2] == code {
			return int(countries[i+2]-'0')*10 + int(countries[i+3]-'0')
		}
	}
	return 0
}

// iban checks for an account number with its check digits at i.
func iban(s string, i int) (start, end int, masked string) {
	start = i - 2
	if start < 0 || !isUpper(s[start]) || !isUpper(s[start+1]) || isAlnum(before(s, start)) {
		return 0, 0, ""
	}
	want := countryLength(s[start:i])
	if want == 0 {
		return 0, 0, ""
	}
	digits := make([]byte, 0, 34)
	end = start
	spaced := after(s, start+4) == ' '
	for len(digits) < want {
		if spaced && len(digits) > 0 && len(digits)%4 == 0 {
			if after(s, end) != ' ' {
				return 0, 0, ""
			}
			end++
		}
		c := after(s, end)
		if !isDigit(c) && !isUpper(c) {
			return 0, 0, ""
		}
		digits = append(digits, c)
		end++
	}
	if isAlnum(after(s, end)) || !mod97(digits) {
		return 0, 0, ""
	}
	return start, end, string(digits[:2]) + "** " + strings.Repeat("*", want-8) + " " + string(digits[want-4:])
}

// mod97 verifies the check digits (ISO 7064).
func mod97(iban []byte) bool {
	sum := 0
	add := func(c byte) {
		if isDigit(c) {
			sum = (sum*10 + int(c-'0')) % 97
		} else {
			sum = (sum*100 + int(c-'A') + 10) % 97
		}
	}
	for _, c := range iban[4:] {
		add(c)
	}
	for _, c := range iban[:4] {
		add(c)
	}
	return sum == 1
}

// phone checks for a phone number at i: +, a parenthesis or three digits.
func phone(s string, i int) (end int, masked string) {
	if p := before(s, i); isAlnum(p) || p == '.' || p == '+' {
		return 0, ""
	}
	if s[i] == '+' {
		return international(s, i)
	}
	// In the North American plan, area and exchange codes begin with 2 to 9.
	j := i
	open := s[i] == '('
	if open {
		j++
	}
	if span(s, j, 4, digit) != 3 || s[j] < '2' {
		return 0, ""
	}
	sep := after(s, j+3)
	j += 3
	if open {
		if sep != ')' {
			return 0, ""
		}
		if j++; after(s, j) == ' ' {
			j++
		}
		sep = '-'
	} else {
		if sep != '-' && sep != '.' {
			return 0, ""
		}
		j++
	}
	if span(s, j, 4, digit) != 3 || s[j] < '2' || after(s, j+3) != sep || span(s, j+4, 5, digit) != 4 {
		return 0, ""
	}
	end = j + 8
	if next := after(s, end); isAlnum(next) || next == '-' || next == '.' && isDigit(after(s, end+1)) {
		return 0, ""
	}
	return end, "***-***-**" + s[end-2:end]
}

// international checks for a number with a country code (ITU-T E.164): at most 15 digits.
func international(s string, i int) (end int, masked string) {
	if c := after(s, i+1); c < '1' || c > '9' {
		return 0, ""
	}
	digits, last, seps := 0, i, 0
	for j := i + 1; j < len(s) && j < i+25; j++ {
		switch c := s[j]; {
		case isDigit(c):
			digits, last, seps = digits+1, j, 0
			continue
		case (c == ' ' || c == '-' || c == '.' || c == '(' || c == ')') && seps < 2:
			seps++
			continue
		}
		break
	}
	end = last + 1
	if digits < 8 || digits > 15 || isAlnum(after(s, end)) {
		return 0, ""
	}
	return end, s[i:i+2] + strings.Repeat("*", digits-3) + s[end-2:end]
}
