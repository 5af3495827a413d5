package main

// A stub describes a macOS library to the linker. Apple's stubs come only with its SDK; these have just
// the symbols that Go's packages import. So a missing symbol fails the build, and no Apple file is
// needed.
type stub struct {
	path, library, compatible string
}

var stubs = []stub{
	{"CoreFoundation.framework/CoreFoundation.tbd", "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation", "150"},
	{"Security.framework/Security.tbd", "/System/Library/Frameworks/Security.framework/Versions/A/Security", "1"},
	{"libresolv.tbd", "/usr/lib/libresolv.9.dylib", "1"},
}
