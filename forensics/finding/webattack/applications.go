package webattack

// applications are kinds of attacks on one language, framework or product. They come after those that all have in common.
var applications = []form{
	{kind: "code-injection", label: "calls of Java's runtime", is: has(`java\.lang\.(runtime|processbuilder)\b|\bgetruntime\(\)\s*\.exec|#\{.{0,80}\bt\(\s*java\.`)},
	{kind: "code-injection", label: "an expression of a template", is: has(`\{\{.{0,200}(__class__|__globals__|__init__|\bconfig\.|request\.application|\bpopen\b)|[{$#]\{\s*\d+\s*\*\s*\d+\s*\}`)},
	{kind: "code-injection", label: "code of Node.js", is: has(`process\.mainmodule|require\(\W{0,4}child_process|constructor:constructor|"__proto__"\s*:`)},
	{kind: "code-injection", label: "render arrays of Drupal (Drupalgeddon 2)", cve: "CVE-2018-7600", is: has(`\[#?(post_render|pre_render|access_callback|lazy_builder)\]|\[#(markup|type)\]`)},
	{kind: "deserialization", label: "a serialized object of Java", is: has(`(^|[="':\s])ro0ab[a-z0-9/ ]{8}`)},
	{kind: "deserialization", label: "a serialized object of .NET", is: has(`aaeaaad/////a|aaqaaap////8b|abaaaa/////we`)},
	{kind: "deserialization", label: "a serialized object of PHP", is: has(`(^|[="'])\s*o:\d{1,3}:"[a-z_][\w\\]*":\d+:\{`)},
	{kind: "deserialization", label: "a class of Java to load from JSON (Fastjson)", cve: "CVE-2017-18349", is: has(`"@type"\s*:\s*"l?(com\.sun\.|java\.lang\.class|javax\.|org\.apache\.|ch\.qos\.|com\.mchange\.)`)},
	{kind: "nosql-injection", label: "operators of MongoDB", is: has(`\[\$(ne|gt|gte|lt|regex|nin|exists|where)\]\s*=|"\$(ne|gt|nin)"\s*:\s*(null|""|\[\])|"\$where"\s*:`)},
	{kind: "ssrf", label: "the address of a cloud's metadata, or a scheme that the server is to use", is: has(`[="']\s*(https?://)?(169\.254\.169\.254|metadata\.google\.internal|100\.100\.100\.200)\b|[="'](gopher|dict)://`)},
	{kind: "remote-inclusion", label: "a file of another server to include", is: has(`=(https?|ftp)://[^\s?]{1,200}\.(txt|inc)\?`)},
	{url: true, kind: "crlf-injection", label: "a line of a header (response splitting)", is: has(`[\r\n](set-cookie|location|content-length|content-type)\s*:\s`)},
	{url: true, kind: "path-traversal", label: "a path to scripts of Citrix", cve: "CVE-2019-19781", is: has(`/vpns?/\.\./vpns?/`)},
	{url: true, kind: "path-traversal", label: "a path of Exchange by way of Autodiscover (ProxyShell)", cve: "CVE-2021-34473", is: has(`autodiscover\.json\?.{0,100}@.{0,200}/(owa|ews|mapi|powershell|autodiscover|ecp)`)},
	{kind: "ssrf", label: "a server of Exchange behind the front end (ProxyLogon)", cve: "CVE-2021-26855", is: has(`x-beresource=[^;\s]*[~/]\d{5}`)},
	{url: true, kind: "secret-file", label: "the name of a file with secrets", is: has(`^/?(\S*/)?(\.git/(config|head|index)|\.env(\.\w+)?|\.aws/credentials|\.ssh/\w+|\.svn/entries|\.htpasswd|\.npmrc|\.docker/config\.json|wp-config\.php[.~_]\w*|id_rsa)(\?|$)`)},
}

// perhaps is what maybe is, for them.
const perhaps = `|java\.lang\.|getruntime|(\{|%7b){2}|\d(\*|%2a)\d+(\}|%7d)|process\.mainmodule|child_process|constructor:constructor|__proto__|post_render|pre_render|access_callback|lazy_builder|(#|%23)(markup|type)|ro0ab|aaeaaad|aaqaaap|abaaaa|(=|'|")o(:|%3a)\d|@type|(\$|%24)(ne|gt|gte|lt|regex|nin|exists|where)|169\.254\.169\.254|metadata\.google|100\.100\.100\.200|(gopher|dict)(:|%3a)|\.(txt|inc)(\?|%3f)|%0d|%0a(set-cookie|location|content-)|/vpns?/|autodiscover\.json|/\.(git|env|aws|ssh|svn|htpasswd|npmrc|docker)|wp-config|id_rsa`
