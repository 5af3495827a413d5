package keys

import (
	"errors"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Recipients parses an age recipient (age1… or an SSH public key), or reads a file with one on
// each line.
func Recipients(text string) ([]age.Recipient, error) {
	list, err := recipients(text)
	if err == nil && len(list) == 0 {
		err = errors.New("the file has no recipient")
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
			return nil, errors.New("the file is larger than 1 MiB")
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
