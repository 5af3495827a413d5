-- Fields of pcapsule for the comments of a slice: pcapsule.outcome contains "server_error", pcapsule.failed, …
-- Load it with -X lua_script:pcapsule.lua. The columns and colours of the profile do not need it.
local label = "LABEL"
local calls = Proto("pcapsule", "pcapsule")
local texts = {"service", "process", "call", "outcome"}
local marks = {"match", "failed", "undelivered", "resent"}
local fields = {}
for _, name in ipairs(texts) do fields[name] = ProtoField.string("pcapsule." .. name, name) end
for _, name in ipairs(marks) do fields[name] = ProtoField.bool("pcapsule." .. name, name) end
calls.fields = fields
local comment = Field.new("frame.comment")

function calls.dissector(buffer, packet, tree)
	local found, at, marked = {comment()}, nil, {}
	for i, info in ipairs(found) do
		local text = tostring(info)
		if text == label then at = i end
		for _, name in ipairs(marks) do
			if text == label .. " " .. name then marked[name] = true end
		end
	end
	if not at or #found < at + #texts then return end
	local list = tree:add(calls)
	for i, name in ipairs(texts) do list:add(fields[name], tostring(found[at + i])) end
	for _, name in ipairs(marks) do
		if marked[name] then list:add(fields[name], true) end
	end
end

register_postdissector(calls)
