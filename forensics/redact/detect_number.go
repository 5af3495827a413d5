package redact

import (
	"strconv"
	"strings"
)

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

// grouping is the sizes of groups of digits.
type grouping []int

const maxGroups = 5

// groups are the ways to write card numbers in groups: as they are embossed, and in fours with a rest.
var groups = [...]grouping{{4, 4, 4, 4, 3}, {4, 4, 4, 4, 2}, {4, 4, 4, 4, 1}, {4, 4, 4, 4}, {4, 4, 4, 3}, {4, 4, 4, 2}, {4, 4, 4, 1}, {4, 4, 5}, {4, 4, 4}, {4, 6, 5}, {4, 6, 4}, {4, 3, 3, 3}, {6, 13}, {6, 10}}

// separator returns the length of what may be between two groups at i: a sign, or a blank that does not break.
func separator(s string, i int) int {
	switch after(s, i) {
	case ' ', '-', '.', '_', '+':
		return 1
	case 0xC2:
		if after(s, i+1) == 0xA0 {
			return 2
		}
	case 0xE2:
		if after(s, i+1) == 0x80 && (after(s, i+2) == 0xAF || after(s, i+2) >= 0x90 && after(s, i+2) <= 0x93 || after(s, i+2) == 0x89) { // narrow blanks and dashes
			return 3
		}
	}
	return 0
}

// card checks for a card number at i, where a run of n digits begins.
func card(s string, i, n int) (end int, masked string) {
	if n >= leastCard && n <= mostCard {
		if next := after(s, i+n); isAlpha(next) || next == '.' && isDigit(after(s, i+n+1)) {
			return 0, ""
		}
		digits := s[i : i+n]
		if issued(digits) && luhn(digits) {
			return i + n, maskCard(digits)
		}
		return 0, ""
	}
	width := separator(s, i+n)
	if n != 4 && n != 6 || width == 0 {
		return 0, ""
	}
	sep := s[i+n : i+n+width]
	if isDigit(before(s, i-width)) && strings.HasSuffix(s[:i], sep) { // a longer row of groups, such as a version
		return 0, ""
	}
	var ends [maxGroups]int
	count := 0 // of groups, with the same sign between them
	for at := i; count < maxGroups; at = ends[count-1] + width {
		m := span(s, at, mostCard, digit)
		if m == 0 {
			break
		}
		ends[count] = at + m
		if count++; !strings.HasPrefix(s[at+m:], sep) {
			break
		}
	}
	for _, g := range groups {
		if end := g.end(i, width, ends[:count]); end > 0 && !isAlpha(after(s, end)) && !continues(s, end, sep) {
			digits := strings.ReplaceAll(s[i:end], sep, "")
			if issued(digits) && luhn(digits) {
				return end, maskCard(digits)
			}
		}
	}
	return 0, ""
}

// continues reports whether a row of groups with dots or underscores between them, which all belong together, continues at i.
func continues(s string, i int, sep string) bool {
	return (sep == "." || sep == "_") && strings.HasPrefix(s[i:], sep) && isAlnum(after(s, i+1))
}

// end returns where groups of these sizes end that begin at i, with signs of this width between them, or 0.
func (g grouping) end(i, width int, ends []int) int {
	if len(g) > len(ends) {
		return 0
	}
	for j, size := range g {
		if ends[j]-i != size {
			return 0
		}
		i = ends[j] + width
	}
	return i - width
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

// Lengths of card numbers that are searched.
const (
	leastCard = 12
	mostCard  = 19 // ISO/IEC 7812-1
)

// issuers is the table of ranges. Sources: the issuers' specifications for developers, and the tables of card number
// libraries. LIMIT: ranges that begin with 1 (UATP, GPN) are left out, because times do too.
var issuers = [...]struct{ name, ranges, lengths string }{
	{"Visa", "4", "13 16 19"},
	{"Mastercard", "51-55 2221-2720", "16"},
	{"American Express", "34 37", "15"},
	{"Discover", "6011 644-649 65", "16-19"},
	{"Diners Club", "300-305 3095 36 38-39", "14-19"},
	{"JCB", "3528-3589", "16-19"},
	{"UnionPay", "62 81", "16-19"},
	{"Maestro", "5018 5020 5038 5893 6304 6759 6761-6763", "12-19"},
	{"Switch, Solo", "633110 6333 6334 6767 564182", "16 18 19"},
	{"Mir", "2200-2204", "16-19"},
	{"RuPay", "508500-508999 606985-607984 608001-608500 82", "16"},
	{"Elo", "401178 401179 431274 438935 451416 457393 457631 457632 504175 506699-506778 509000-509999 627780 636297 636368", "16"},
	{"Hipercard", "384100 384140 384160 606282 637095 637568 637599 637609 637612", "16 19"},
	{"Verve", "506099-506198 507865-507964", "16 18 19"},
	{"Dankort", "5019", "16"},
	{"Troy", "9792", "16"},
	{"UkrCard", "60400100-60420099", "16-19"},
	{"BORICA", "2205", "16"},
	{"InterPayment, InstaPayment", "636-639", "16-19"},
	{"Uzcard, Humo", "8600 5614 9860", "16"},
}

// issuerRange is a row of issuers for one range.
type issuerRange struct {
	low, high string
	lengths   uint32 // one bit for each
}

// issuerRanges are the ranges by their first digit.
var issuerRanges = func() (list [10][]issuerRange) {
	for _, row := range issuers {
		var lengths uint32
		for part := range strings.FieldsSeq(row.lengths) {
			low, high, _ := strings.Cut(part, "-")
			from, _ := strconv.Atoi(low)
			to, err := strconv.Atoi(high)
			if err != nil {
				to = from
			}
			for n := from; n <= to; n++ {
				lengths |= 1 << n
			}
		}
		for part := range strings.FieldsSeq(row.ranges) {
			low, high, ok := strings.Cut(part, "-")
			if !ok {
				high = low
			}
			for c := low[0]; c <= high[0]; c++ {
				list[c-'0'] = append(list[c-'0'], issuerRange{low, high, lengths})
			}
		}
	}
	return list
}()

// issued reports whether an issuer has cards with these leading digits and this length.
func issued(d string) bool {
	if len(d) < leastCard {
		return false
	}
	for _, r := range issuerRanges[d[0]-'0'] {
		if head := d[:len(r.low)]; head >= r.low && head <= r.high && r.lengths>>len(d)&1 != 0 {
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
