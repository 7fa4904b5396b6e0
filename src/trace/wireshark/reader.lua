local LABEL, NUMBER, FLAG, BYTES, TEXT = 0, 1, 2, 3, 4
local HEAD = 10 -- magic, length of the summary
local NODE = 13 -- a node up to the length of its name, and that of its label

local registered = {}
for _, field in pairs(fields) do
    registered[#registered + 1] = field
end
rtmfp.fields = registered

local malformed = ProtoExpert.new("rtmfp.malformed.expert", "Malformed RTMFP",
    expert.group.MALFORMED, expert.severity.ERROR)
local undecoded = ProtoExpert.new("rtmfp.undecoded.expert", "RTMFP that could not be decrypted",
    expert.group.DECRYPTION, expert.severity.NOTE)
rtmfp.experts = { malformed, undecoded }

local EXPERTS = { ["rtmfp.malformed"] = malformed, ["rtmfp.undecoded"] = undecoded }

local function is_record(tvb)
    return tvb:len() >= HEAD and tvb:range(0, #MAGIC):string() == MAGIC
end

-- Adds a node with its value below `parent`; returns its item.
local function add(parent, node, range)
    local field = fields[node.name]
    local item
    if field == nil or (node.kind == BYTES and range:len() ~= node.len) then
        -- A plugin older than the capture.
        item = parent:add(rtmfp, range)
    elseif node.kind == LABEL or node.kind == BYTES then
        item = parent:add(field, range)
    else
        item = parent:add(field, range, node.value)
    end
    item:set_text(node.label)
    local complaint = EXPERTS[node.name]
    if complaint then
        item:add_proto_expert_info(complaint, node.label)
    end
    return item
end

-- The node at `at` and where the next one begins.
local function read(tvb, at)
    local node = {
        depth = tvb:range(at, 1):uint(),
        kind = tvb:range(at + 1, 1):uint(),
        offset = tvb:range(at + 2, 4):uint(),
        len = tvb:range(at + 6, 4):uint(),
    }
    local name_len = tvb:range(at + 10, 1):uint()
    node.name = tvb:range(at + 11, name_len):string()
    at = at + 11 + name_len
    local label_len = tvb:range(at, 2):uint()
    node.label = label_len > 0 and tvb:range(at + 2, label_len):string(ENC_UTF_8) or ""
    at = at + 2 + label_len
    if node.kind == NUMBER then
        if node.name == "rtmfp.chunk" then
            node.value = tvb:range(at + 7, 1):uint()
        else
            node.value = tvb:range(at, 8):uint64()
        end
        at = at + 8
    elseif node.kind == FLAG then
        node.value = tvb:range(at, 1):uint() ~= 0
        at = at + 1
    elseif node.kind == TEXT then
        local len = tvb:range(at, 2):uint()
        node.value = len > 0 and tvb:range(at + 2, len):string(ENC_UTF_8) or ""
        at = at + 2 + len
    end
    return node, at
end

function rtmfp.dissector(tvb, pinfo, tree)
    if not is_record(tvb) then
        return 0
    end
    local summary_len = tvb:range(8, 2):uint()
    local summary = summary_len > 0 and tvb:range(HEAD, summary_len):string(ENC_UTF_8) or ""
    local at = HEAD + summary_len
    local bytes_len = tvb:range(at, 4):uint()
    local base = at + 4
    pinfo.cols.protocol = "RTMFP"
    pinfo.cols.info = summary

    local root = tree:add(rtmfp, tvb:range(base, bytes_len), "RTMFP, " .. summary)
    local items = { [0] = root }
    at = base + bytes_len
    while at + NODE <= tvb:len() do
        local node
        node, at = read(tvb, at)
        local parent = items[node.depth] or items[#items]
        local item = add(parent, node, tvb:range(base + node.offset, node.len))
        items[node.depth + 1] = item
        for deeper = node.depth + 2, #items do
            items[deeper] = nil
        end
    end
    return tvb:len()
end

-- A frame: an IP packet with a UDP header and nothing in it, and behind it the record.
local frame = Proto("rtmfp_frame", "Decrypted RTMFP")

function frame.dissector(tvb, pinfo, tree)
    local ip = Dissector.get("ip")
    local header = 20 + 8
    if tvb:len() > 0 and tvb:range(0, 1):bitfield(0, 4) == 6 then
        ip = Dissector.get("ipv6")
        header = 40 + 8
    end
    if tvb:len() < header or not is_record(tvb:range(header):tvb()) then
        return 0
    end
    ip:call(tvb:range(0, header):tvb(), pinfo, tree)
    return rtmfp.dissector(tvb:range(header):tvb(), pinfo, tree)
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, frame)
