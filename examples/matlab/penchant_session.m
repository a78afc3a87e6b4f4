function [reason, emergency] = penchant_session(url, subject, present, token)
% PENCHANT_SESSION  One session of a subject, over HTTP; for MATLAB and GNU Octave.
%
%   reason = penchant_session('http://127.0.0.1:5000', 'mouse-07', @present)
%
% present(trial, beat) shows one trial and returns what happened, a struct with
% the fields of `respond`: value, or outcome, and reaction_time_s, clocks, reward
% where there are any. It gives at most one reward, of at most
% trial.grant.max_microlitre, within trial.grant.valid_s. A trial that may last
% longer than a heartbeat calls alive = beat() from time to time: it renews the
% lease, and if alive.emergency is true, present brings the rig into its safe state
% at once and returns struct('outcome', 'aborted').
%
% Without present a made-up subject answers. Of several studies at one server the
% url names one: http://...:5000?study=NAME. A server with a token wants it as the
% fourth argument.
%
% Where emergency is true, an operator has stopped everything: safe state at once.
% Where the function ends in an error, the server is lost or has refused a message:
% bring the rig into its safe state. An answer that was under way is in the file
% penchant_unsent_SUBJECT.json and is sent first the next time: call the function
% in a folder of the study's own. The same message, sent again, counts once.

  if nargin < 3 || isempty(present), present = @made_up; end
  if nargin < 4, token = ''; end
  say = @(kind, message) send(url, token, kind, message);

  unsent = ['penchant_unsent_' subject '.json'];
  if exist(unsent, 'file'), send_unsent(unsent, say); end

  hello = struct('protocol', 1, 'subject', subject);
  hello.capabilities = struct('client', program());
  reply = say('hello', hello);
  while strcmp(reply.type, 'wait')
    pause(reply.retry_after_s);
    reply = say('hello', hello);
  end
  if strcmp(reply.type, 'done')
    reason = reply.reason;
    emergency = reply.emergency;
    return
  end

  me = struct('session', reply.session);
  beat = @() alive(say('heartbeat', me));
  reply = say('next', me);
  while ~strcmp(reply.type, 'done')
    if strcmp(reply.type, 'wait')  % paused
      pause(reply.retry_after_s);
      reply = say('next', me);
      continue
    end
    response = present(reply, beat);
    response.session = me.session;
    response.uid = reply.uid;
    write(unsent, jsonencode(response));  % on disk before it is sent
    ack = say('respond', response);
    delete(unsent);
    if ~isempty(ack.next)
      reply = ack.next;
    else
      reply = say('next', me);  % the session is over, or paused
    end
  end
  reason = reply.reason;
  emergency = reply.emergency;
end

function answer = made_up(trial, beat)
% Watches in training, and always answers the same in the test.
  beat();
  if strcmp(trial.phase, 'training')
    answer = struct('outcome', 'responded');
  else
    answer = struct('value', 1, 'reaction_time_s', 0.4);
  end
end

function reply = alive(reply)
% A heartbeat's reply; `emergency` is there whatever it is.
  if ~isfield(reply, 'emergency'), reply.emergency = false; end
end

function reply = send(url, token, kind, message)
% Sends a message, again and again until it is answered.
  if ~isempty(token), message.token = token; end
  body = jsonencode(message);
  parts = strsplit(url, '?');
  address = [regexprep(parts{1}, '/$', '') '/api/v1/' kind];
  if numel(parts) > 1, address = [address '?' parts{2}]; end
  for attempt = 1:300
    [status, text] = post(address, body);
    if status == 200
      reply = jsondecode(text);
      return
    end
    if ~any(status == [0 429 502 503 504])
      error('penchant:refused', '%s was refused (%d): %s', kind, status, text);
    end
    if status == 429, pause(1); else, pause(0.2); end
  end
  error('penchant:lost', 'no answer from %s: %s', address, text);
end

function [status, text] = post(address, body)
% One attempt: the status (0 without an answer) and the body of the answer.
  if strcmp(program(), 'octave')
    [status, text] = post_by_curl(address, body);
    return
  end
  type = matlab.net.http.field.ContentTypeField('application/json');
  payload = matlab.net.http.MessageBody();
  payload.Payload = unicode2native(body, 'UTF-8');
  request = matlab.net.http.RequestMessage('POST', type, payload);
  options = matlab.net.http.HTTPOptions('ConnectTimeout', 30, 'ConvertResponse', false);
  try
    response = request.send(address, options);
    status = double(response.StatusCode);
    text = native2unicode(response.Body.Payload(:)', 'UTF-8');
  catch fault
    status = 0;
    text = fault.message;
  end
end

function [status, text] = post_by_curl(address, body)
% Octave's own webwrite sends forms only. The body, which may hold the token, goes
% by a file of our own: other users see a command's words.
  if any(ismember(address, '"`$\'))
    error('penchant:url', 'a URL without quotes, $ and \\ was expected: %s', address);
  end
  file = tempname();
  tidy = onCleanup(@() delete(file));
  mask = umask(77);  % octal
  write(file, body);
  umask(mask);
  [~, text] = system(['curl --silent --max-time 30 --write-out "\n%{http_code}"' ...
    ' --header "Content-Type: application/json" --data-binary "@' file '"' ...
    ' "' address '"']);
  lines = strsplit(text, char(10));
  status = str2double(lines{end});
  if isnan(status), status = 0; end
  text = strjoin(lines(1:end-1), char(10));
end

function send_unsent(file, say)
% What an earlier run was about to say; set aside if the server will not have it.
  try
    say('respond', jsondecode(fileread(file)));
    delete(file);
  catch fault
    if ~strcmp(fault.identifier, 'penchant:refused'), rethrow(fault); end
    movefile(file, strrep(file, 'unsent', 'refused'));
    warning('penchant:refused', '%s', fault.message);
  end
end

function write(name, text)
  file = fopen(name, 'w', 'n', 'UTF-8');
  if file < 0, error('penchant:disk', 'cannot write %s', name); end
  fwrite(file, unicode2native(text, 'UTF-8'), 'uint8');
  fclose(file);
end

function name = program()
  if exist('OCTAVE_VERSION', 'builtin'), name = 'octave'; else, name = 'matlab'; end
end
