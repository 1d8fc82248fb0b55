-- The end of a wrk run as one line of JSON, behind wrk's own words.
done = function(summary)
  local errors = summary.errors
  local format = '{"requests":%d,"bytes":%d,"microseconds":%d,'
    .. '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n'
  io.write(string.format(format, summary.requests, summary.bytes, summary.duration,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
