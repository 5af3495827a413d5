package redact

import "strings"

// option is how a program takes a password on its command line.
type option struct {
	flag string // without its dash
	cut  byte   // the value is USER, this sign, and the password; 0: the password alone
	glue bool   // the value follows the flag without a blank; with one, the program asks for it
}

// programs lists options that are secret only for some programs. A subcommand counts as a program.
var programs = func() map[string][]option {
	list := map[string][]option{}
	for names, options := range map[string][]option{
		"mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlslap mysqlbinlog mysqlsh mysqlpump mariadb mariadb-dump mariadb-admin 7z 7za 7zr rar unrar": {{flag: "p", glue: true}},
		"sshpass mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat cqlsh rdesktop evil-winrm login":                                              {{flag: "p"}},
		"redis-cli valkey-cli keydb-cli":                                  {{flag: "a"}},
		"ldapsearch ldapadd ldapmodify ldapdelete ldapcompare ldapwhoami": {{flag: "w"}},
		"ldappasswd": {{flag: "w"}, {flag: "s"}, {flag: "a"}},
		"sqlcmd osql isql bcp tsql mosquitto_pub mosquitto_sub mosquitto_rr zip unzip ipmitool": {{flag: "P"}},
		"snmpget snmpgetnext snmpwalk snmpbulkget snmpbulkwalk snmpset snmptrap":                {{flag: "A"}, {flag: "X"}},
		"plink pscp psftp putty":            {{flag: "pw"}},
		"curl":                              {{flag: "u", cut: ':'}, {flag: "U", cut: ':'}, {flag: "-user", cut: ':'}, {flag: "-proxy-user", cut: ':'}},
		"http https xh":                     {{flag: "a", cut: ':'}, {flag: "-auth", cut: ':'}},
		"smbclient rpcclient smbmap smbget": {{flag: "U", cut: '%'}, {flag: "-user", cut: '%'}},
		"lftp":                              {{flag: "u", cut: ','}},
		"openssl":                           {{flag: "k"}, {flag: "K"}, {flag: "iv"}, {flag: "hmac"}, {flag: "mackey"}, {flag: "macopt", cut: ':'}, {flag: "pass", cut: ':'}, {flag: "passin", cut: ':'}, {flag: "passout", cut: ':'}},
		"winrs":                             {{flag: "p", glue: true}},
	} {
		for name := range strings.FieldsSeq(names) {
			list[name] = options
		}
	}
	return list
}()

// maxCommand is the number of bytes before an option that are searched for its program.
const maxCommand = 256

// beginsOption reports whether a dash between two bytes may begin an option.
func beginsOption(prev, next byte) bool {
	return (prev == 0 || classes[prev]&(blank|quoteMark) != 0) && strings.IndexByte("-paPwsuUAXkKihm", next) >= 0
}

// optioned checks for a password on a command line whose option begins with the dash at i: --password VALUE of any
// program, or a short option of one that programs lists.
func optioned(s string, i int) (k kinds, start, end int, masked string) {
	if flag := s[i+1 : i+1+span(s, i+1, 40, token)]; strings.HasPrefix(flag, "-") && secretFlag(flag) && isBlank(after(s, i+1+len(flag))) {
		start, end = optionValue(s, i+1+len(flag))
		if word := span(s, start, end-start, lower); end <= start || word == end-start && word < 12 && program(s, i) == nil {
			return 0, 0, 0, "" // nothing, or a word of a sentence about the option
		}
		return kCommand, start, end, Mask
	}
	for _, o := range program(s, i) {
		v := i + 1 + len(o.flag)
		if !strings.HasPrefix(s[i+1:], o.flag) || o.glue && isBlank(after(s, v)) || len(o.flag) > 1 && !isBlank(after(s, v)) && after(s, v) != '=' {
			continue
		}
		start, end = optionValue(s, v)
		if o.cut != 0 {
			start += strings.IndexByte(s[start:end], o.cut) + 1
			if start == 0 || before(s, start) != o.cut {
				continue
			}
		}
		if end > start {
			return kCommand, start, end, Mask
		}
	}
	return 0, 0, 0, ""
}

// secretFlag reports whether a long option of any program is a password.
func secretFlag(flag string) bool {
	name := normal(flag)
	for _, end := range [...]string{"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "secretkey", "accesskey"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// optionValue returns the value of an option that ends at i. It is empty if another option or a variable follows.
func optionValue(s string, i int) (start, end int) {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '=') {
		i++
	}
	if c := after(s, i); c == '-' || c == '$' || c == '<' || c == '[' {
		return i, i
	}
	return literal(s, i)
}

// program returns the options of the program whose command line has an option at i, or nil.
func program(s string, i int) []option {
	line := s[max(0, i-maxCommand):i]
	if cut := strings.LastIndexAny(line, "\n;|&`"); cut >= 0 {
		line = line[cut+1:]
	}
	for {
		line = strings.TrimRight(line, " \t\r\"'\\,")
		if line == "" {
			return nil
		}
		word := line[len(line)-back(line, len(line), 40, token):]
		if options := programs[word]; options != nil {
			return options
		}
		line = line[:strings.LastIndexAny(line, " \t\"'\\/")+1]
		line = strings.TrimSuffix(line, "/")
	}
}

var commandScanner = newScanner(kCommand)
