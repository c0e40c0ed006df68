r"""The scripts that make a shell ask for candidates; none of them evaluates what it is told.

A candidate that ends in ``=``, ``.`` or ``/`` is not finished, so no blank follows it. Only bash
has to be told how our words end: it breaks them at ``=``, ``:`` and ``@``.
"""

from typing import Final

_BASH: Final = r"""# Completion of proxmox-mcp for bash, 3.2 or newer. Now, or from ~/.bashrc:
#   source <(proxmox-mcp shell-completion bash)

_proxmox_mcp() {
    local line=${COMP_LINE:0:COMP_POINT} rest word about index
    local -a words=()
    # bash also breaks words at = : and @, but ours end only where a blank follows.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        rest=${line#"${line%%[![:blank:]]*}"}
        [[ $index -eq $COMP_CWORD ]] && word=$rest
        if [[ $index -eq 0 || $rest != "$line" ]]; then
            words+=("$word")
        else
            words[${#words[@]}-1]+=$word
        fi
        line=${rest#"$word"}
    done
    # Of the last word bash replaces only what it takes for a word.
    local current=${words[${#words[@]}-1]}
    local kept=${current%"$2"}
    COMPREPLY=()
    while IFS=$'\t' read -r word about; do
        [[ $word == "$kept"* ]] || continue
        word=${word#"$kept"}
        [[ $word == *[=./] ]] || word+=' '
        COMPREPLY+=("$word")
    done < <(command proxmox-mcp complete -- "${words[@]:1}" 2>/dev/null)
}
complete -o nospace -F _proxmox_mcp proxmox-mcp
"""

_ZSH: Final = r"""#compdef proxmox-mcp
# Completion of proxmox-mcp for zsh. As a file called _proxmox-mcp in a folder of $fpath, or, after
# compinit, from ~/.zshrc:
#   source <(proxmox-mcp shell-completion zsh)

_proxmox_mcp() {
    local word about
    local -a before finished unfinished
    before=("${(@)words[2,CURRENT-1]}")
    while IFS=$'\t' read -r word about; do
        word=${word//:/\\:}
        if [[ $word == *[=./] ]]; then
            unfinished+=("$word:$about")
        else
            finished+=("$word:$about")
        fi
    done < <(command proxmox-mcp complete -- "${before[@]}" "$PREFIX" 2>/dev/null)
    (( $#finished )) && _describe 'proxmox-mcp' finished
    (( $#unfinished )) && _describe 'proxmox-mcp' unfinished -S ''
    return 0
}
if [[ $funcstack[1] == _proxmox-mcp ]]; then
    _proxmox_mcp "$@"
else
    compdef _proxmox_mcp proxmox-mcp
fi
"""

_FISH: Final = r"""# Completion of proxmox-mcp for fish. Now, or for good:
#   proxmox-mcp shell-completion fish | source
#   proxmox-mcp shell-completion fish > ~/.config/fish/completions/proxmox-mcp.fish

function __proxmox_mcp_complete
    set -l before (commandline -opc)
    set -e before[1]
    set -l current (commandline -ct)
    command proxmox-mcp complete -- $before "$current" 2>/dev/null
end
complete -c proxmox-mcp -f -a '(__proxmox_mcp_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""By the shell's name."""
