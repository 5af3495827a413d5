package redact

import "strings"

// The default names of secrets, as patterns of a policy. Case, separators and the Unicode form do not matter: pwd_confirm is
// also pwdConfirm and PWD-CONFIRM.
var (
	// passwordNames are names of passwords and passphrases, in the languages in which people write forms and tables.
	passwordNames = list(`
		*password* *passwd* *passphrase* *pwd pwd* *pswd psw *pw pass userpass db_pass smtp_pass mail_pass mysql_pass pg_pass redis_pass ftp_pass
		http_pass admin_pass login_pass auth_pass old_pass new_pass current_pass confirm_pass *passcode passkey requirepass masterauth identified_by
		*passwort* *kennwort* *contraseña* *contrasena* *motdepasse* senha senha_* *_senha_* nova_senha confirmar_senha minha_senha confirma_senha
		*wachtwoord* *lösenord* *losenord* *adgangskode* *passord *salasana* *hasło* haslo *jelszó* jelszo *heslo* *lozinka* *parolă* parola *şifre* sifre
		*пароль* *пароли* *пароля* *密码* *密碼* *口令* *パスワード* *暗証番号* *비밀번호* *암호* *รหัสผ่าน* *סיסמה* *סיסמא* *κωδικόςπρόσβασης* *كلمةالمرور* *كلمةالسر* *mậtkhẩu* matkhau kata_sandi *पासवर्ड*`)

	// codeNames are names of codes that work like a password, some of them once.
	codeNames = list(`*mfa_code totp one_time_code recovery_code recovery_codes backup_code backup_codes security_answer seed_phrase mnemonic device_code otp pin cvv cvc cvv2 card_number`)

	// tokenNames are names of tokens, sessions and signatures.
	tokenNames = list(`
		*secret* *token access_tokens refresh_tokens auth_tokens api_tokens session_tokens *credential* csrf xsrf jwt *_jwt bearer *signature sig sas hmac
		code_verifier assertion client_assertion saml_response session session_id session_key sessid jsessionid phpsessid sid auth x_auth authorization
		cookie cookies set_cookie sentry_key`)

	// keyNames are names of keys.
	keyNames = list(`application_key *api_key* *access_key* *private_key* *signing_key* *encryption_key* *account_key *shared_access_key *license_key *connection_string`)

	// generatedNames are names whose value is masked only if it looks generated.
	generatedNames = list(`*key *keys k p t tok *ticket st sess *pass pass1 pass2 upass access refresh reset invite magic verification confirm unsubscribe ak sk aws_sk psk seed oauth_verifier user_code`)

	// wordNames are names that also stand before a word that says how somebody logs in ("auth": "ldap") or what kind of
	// session it is; such a word is not masked.
	wordNames = list(`session auth x_auth authorization cookie cookies set_cookie bearer hmac csrf xsrf sas credential credentials *_token_auth_method jwt`)

	// harmlessNames are names that one of the lists above matches, but whose value says something about a secret.
	harmlessNames = list(`
		*public_key *public_keys object.key contents.key sec_websocket_key *idempotency_key surrogate_key *cache_key partition_key sort_key routing_key primary_key foreign_key
		*_token_type next_page_token page_token continuation_token sync_token *secret_name *secret_names credential_type access_control_allow_credentials
		secretary* secretariat* secretaria secretario secretaire secret_santa* passwordless*
		has_password* has_passwd has_pwd has_secret* has_token has_credential* has_api_key is_password* is_secret is_token is_credential* use_password* require_password* requires_password*
		need_password* needs_password* needs_token allow_password* show_password* hide_password* enable_password* forgot_password* forget_password no_password must_change_password*
		should_change_password can_change_password password_must_* password_never_expires password_reset_required
		*password_changed* *password_updated* *password_created* *password_set_at *password_reset_at *password_expires* *password_expired *password_expiry* *password_expiration* *password_last_* last_password_*
		*passwd_changed* *pwd_changed* *pwd_updated* *pwd_expires* pwd_last_* *token_expires* *token_expiry* *secret_expires* *secret_expiry* *secret_changed* *secret_updated* *secret_created* *credential_created* *credential_updated*
		*password_age *password_max_age *password_min_age *password_ttl *password_policy* *password_policies *password_rule *password_rules *password_requirements *password_strength *password_score
		*password_length *password_min_length *password_max_length *password_history* *password_attempts *password_count *password_complexity
		*password_enabled *password_disabled *password_required *password_type *password_format *password_algorithm *password_method *password_encoding *password_label *password_placeholder
		*password_url *password_uri *password_link *password_file *password_path *password_field *password_status *password_valid *password_manager *password_provider *password_version *password_hint_enabled
		*secrets_count *secret_count *secret_type *secret_kind *secret_version *secret_path *secret_file *secret_manager *secret_manager_name *secret_store *secret_store_ref *secret_ref *secret_refs *secret_key_ref *secret_engine *secret_length *secret_required *secret_enabled *secret_status
		*credential_count *credentials_count *credential_kind *credential_format *credentials_file *credentials_path *credentials_provider *credential_provider *credential_source *credential_process *credentials_required
		*api_key_id *api_key_name *api_key_count *api_key_required *api_key_enabled *api_key_type *access_key_last_used *access_key_age *access_key_count *private_key_file *private_key_path *private_key_type *private_key_algorithm *private_key_format
		*signing_key_id *encryption_key_id *encryption_key_type *license_key_type *passphrase_file *passphrase_required *passwd_file *pwd_file
		парольизмен* *парольистекает* *политикапарол* *密码策略 *密码长度 *密码强度 *密码过期* *passwort_geändert* *passwort_läuft* *kennwort_geändert* *passwort_richtlinie* *passwortrichtlinie*`)
)

func list(words string) []string { return strings.Fields(words) }
