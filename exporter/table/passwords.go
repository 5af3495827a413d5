package table

import "strings"

// knownPasswords are passwords that everybody knows, in lower case: defaults of products, and those that are guessed first
// (the list of Mirai has the ones of devices).
var knownPasswords = func() map[string]bool {
	set := map[string]bool{}
	for _, s := range strings.Fields(`1111 111111 1234 12345 123456 1234567 12345678 123456789 54321 666666 888888 7ujmko0admin 7ujmko0vizxv abc123 admin admin123 admin1234
		administrator anko changeit changeme cisco default dreambox fucker guest hi3518 ikwb juantech jvbzd klv123 klv1234 letmein login meinsm minioadmin oracle p@ssw0rd pass passw0rd
		password password1 password123 postgres private public qwerty raspberry realtek root root123 secret service smcadmin super supervisor support system tech test test123 toor ubnt user
		vagrant vizxv welcome xc3511 xmhdipc zlxx zte521`) {
		set[s] = true
	}
	return set
}()

// publicUsers are users of services for everybody, whose passwords prove nothing.
var publicUsers = map[string]bool{"anonymous": true, "ftp": true}

// WeakPassword says what is wrong with a password, as the end of a sentence; empty if nothing is known.
func WeakPassword(user, password string) string {
	switch {
	case publicUsers[strings.ToLower(user)]:
		return ""
	case password == "":
		return "is empty"
	case strings.Trim(password, "x") == "": // what a redaction leaves of any password, and of a name
		return ""
	case strings.EqualFold(user, password):
		return "is the name of the user"
	case knownPasswords[strings.ToLower(password)]:
		return "is one that everybody knows"
	}
	return ""
}
