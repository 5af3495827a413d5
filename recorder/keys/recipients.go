package keys

import (
	"errors"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Recipients reads a recipient of age (age1…, an SSH public key), or a file with one a line.
func Recipients(text string) ([]age.Recipient, error) {
	list, err := recipients(text)
	if err == nil && len(list) == 0 {
		err = errors.New("no recipient in it")
	}
	return list, err
}

func recipients(text string) ([]age.Recipient, error) {
	const longest = 1 << 20
	if !strings.HasPrefix(text, "age1") && !strings.HasPrefix(text, "ssh-") {
		info, err := os.Stat(text)
		if err != nil {
			return nil, err
		}
		if info.Size() > longest {
			return nil, errors.New("a file of more than 1 MiB")
		}
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(b))
	}
	if strings.HasPrefix(text, "ssh-") {
		r, err := agessh.ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		return []age.Recipient{r}, nil
	}
	return age.ParseRecipients(strings.NewReader(text))
}
