//! The installation of Mesa's software driver, or the command that does it.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use super::{machine::Machine, search::Interface};

/// The number of times that the package lists are fetched again while another program holds their lock, and the time between two. Only the
/// lock on the packages themselves has a waiting time of its own in apt.
const LIST_ATTEMPTS: u32 = 12;
const LIST_PAUSE: Duration = Duration::from_secs(10);

/// Seconds that apt waits for another program that is installing packages.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";

/// Installs the software driver of an interface.
///
/// # Errors
///
/// Why it cannot, and the command that a person is to run instead.
pub(crate) fn install(interface: Interface, machine: &Machine) -> Result<(), String> {
    let rights = Rights::of_this_process();
    let release = machine.read(Path::new("/etc/os-release")).unwrap_or_default();
    let has_apt = machine.exists(Path::new("/usr/bin/apt-get"));
    let manager = if has_apt { Some(PackageManager::Apt) } else { PackageManager::of(&release) };
    let by_hand = |why: String| advice(interface, manager, rights, &why);

    if manager != Some(PackageManager::Apt) {
        return Err(by_hand("only apt is known to install without a person".to_string()));
    }
    let Some(prefix) = rights.prefix() else {
        return Err(by_hand("not root, and sudo asks for a password or is not there".to_string()));
    };
    println!("==> driver: installing Mesa's software driver through apt");
    if let Err(failure) = fetch_lists(prefix) {
        // The lists that are there may do: an image often ships with fresh ones.
        println!("==> driver: the package lists stay as they are ({failure})");
    }
    install_packages(prefix, PackageManager::Apt.packages(interface)).map_err(by_hand)
}

/// Installs packages through apt, for `what`.
///
/// # Errors
///
/// Why it cannot, with the packages that a person is to install instead.
pub(crate) fn install_by_apt(what: &str, packages: &str) -> Result<(), String> {
    let prefix = Rights::of_this_process().prefix().filter(|_| Path::new("/usr/bin/apt-get").exists());
    let Some(prefix) = prefix else {
        return Err(format!("no {what}, and none can be installed from here. Install the packages {packages}"));
    };
    println!("==> {what}: installing {packages} through apt");
    if let Err(failure) = fetch_lists(prefix) {
        println!("==> {what}: the package lists stay as they are ({failure})");
    }
    install_packages(prefix, packages)
}

/// The permissions of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    Root,
    /// Root through sudo, without a password.
    Sudo,
    Nothing,
}

impl Rights {
    fn of_this_process() -> Self {
        let user = quiet(Command::new("id").arg("-u")).output();
        if user.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
            Self::Root
        } else if quiet(Command::new("sudo").args(["-n", "true"])).status().is_ok_and(|status| status.success()) {
            Self::Sudo
        } else {
            Self::Nothing
        }
    }

    /// Returns the words before a command that runs as root. `None` if this is not possible.
    const fn prefix(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Root => Some(&[]),
            // Fails instead of prompting, because the run may be unattended.
            Self::Sudo => Some(&["sudo", "-n"]),
            Self::Nothing => None,
        }
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stderr(Stdio::null())
}

/// A package manager with known packages of a software driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PackageManager {
    Apt,
    Dnf,
    Pacman,
    Apk,
    Zypper,
}

impl PackageManager {
    /// The package manager of a distribution, from the text of its `os-release`.
    fn of(release: &str) -> Option<Self> {
        let names =
            release.lines().filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
        names.flat_map(|value| value.trim().trim_matches(['"', '\'']).split_whitespace()).find_map(|name| match name {
            "debian" | "ubuntu" => Some(Self::Apt),
            "fedora" | "rhel" | "centos" => Some(Self::Dnf),
            "arch" | "archlinux" => Some(Self::Pacman),
            "alpine" => Some(Self::Apk),
            "suse" | "opensuse" => Some(Self::Zypper),
            _ => None,
        })
    }

    /// The loader and the software driver of an interface.
    const fn packages(self, interface: Interface) -> &'static str {
        match (self, interface) {
            (Self::Apt, Interface::Vulkan) => "libvulkan1 mesa-vulkan-drivers",
            (Self::Apt, Interface::OpenGl) => "libegl1 libgl1-mesa-dri",
            (Self::Dnf, Interface::Vulkan) => "vulkan-loader mesa-vulkan-drivers",
            (Self::Dnf, Interface::OpenGl) => "libglvnd-egl mesa-libEGL mesa-dri-drivers",
            (Self::Pacman, Interface::Vulkan) => "vulkan-icd-loader vulkan-swrast",
            (Self::Pacman, Interface::OpenGl) => "mesa",
            (Self::Apk, Interface::Vulkan) => "vulkan-loader mesa-vulkan-swrast",
            (Self::Apk, Interface::OpenGl) => "mesa-egl mesa-dri-gallium",
            (Self::Zypper, Interface::Vulkan) => "libvulkan1 libvulkan_lvp",
            (Self::Zypper, Interface::OpenGl) => "Mesa-libEGL1 Mesa-dri",
        }
    }

    /// The command that a person types to install the software driver of an interface.
    fn by_hand(self, interface: Interface, rights: Rights) -> String {
        let packages = self.packages(interface);
        let sudo = if rights == Rights::Root { "" } else { "sudo " };
        match self {
            Self::Apt => format!("{sudo}apt-get update && {sudo}apt-get install -y {packages}"),
            Self::Dnf => format!("{sudo}dnf install -y {packages}"),
            Self::Pacman => format!("{sudo}pacman -S --needed --noconfirm {packages}"),
            Self::Apk => format!("{sudo}apk add {packages}"),
            Self::Zypper => format!("{sudo}zypper --non-interactive install {packages}"),
        }
    }
}

/// The message if this program cannot install the driver.
fn advice(interface: Interface, manager: Option<PackageManager>, rights: Rights, why: &str) -> String {
    let command = match manager {
        Some(manager) => format!("Run:\n\n    {}", manager.by_hand(interface, rights)),
        None => format!(
            "Install the {interface} loader and Mesa's software driver with the system's package \
             manager (on Debian: {})",
            PackageManager::Apt.by_hand(interface, rights)
        ),
    };
    format!(
        "there is no {interface} driver, and none can be installed from here: {why}. {command}\n\n\
         If there is a driver where this search does not look, --assume-driver leaves the search out."
    )
}

/// Fetches the package lists, and waits while another program does.
fn fetch_lists(prefix: &[&str]) -> Result<(), String> {
    for attempt in 1..=LIST_ATTEMPTS {
        println!("==> driver: {}apt-get update", shown(prefix));
        let output =
            apt(prefix, &["-q", "update"]).output().map_err(|error| format!("apt-get did not start: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        print_through(&output);
        if !held_by_another(&output.stderr) || attempt == LIST_ATTEMPTS {
            return Err(format!("apt-get update: {}", output.status));
        }
        println!("==> driver: another program holds the package lists; waiting {} s", LIST_PAUSE.as_secs());
        thread::sleep(LIST_PAUSE);
    }
    Ok(())
}

fn install_packages(prefix: &[&str], packages: &str) -> Result<(), String> {
    println!("==> driver: {}apt-get install -y {packages}", shown(prefix));
    let mut arguments = vec!["-q", "-y", "--no-install-recommends", "-o", LOCK_TIMEOUT, "install"];
    arguments.extend(packages.split(' '));
    let output = apt(prefix, &arguments).output().map_err(|error| format!("apt-get did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    print_through(&output);
    Err(format!("apt-get install failed ({})", output.status))
}

/// Returns an apt-get command without questions and with English messages, which [`held_by_another`] parses.
fn apt(prefix: &[&str], arguments: &[&str]) -> Command {
    // Set through `env`, since sudo drops the variables that it is called with.
    let words = prefix.iter().chain(&["env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "apt-get"]).chain(arguments);
    let mut words = words.copied();
    let mut command = Command::new(words.next().unwrap_or("apt-get"));
    command.args(words).stdin(Stdio::null());
    command
}

/// Whether apt failed because another program holds a lock.
fn held_by_another(errors: &[u8]) -> bool {
    String::from_utf8_lossy(errors).contains("Could not get lock")
}

fn shown(prefix: &[&str]) -> String {
    prefix.iter().map(|word| format!("{word} ")).collect()
}

/// Prints the output of a failed command. The output of a successful command, several hundred lines, is discarded.
fn print_through(output: &Output) {
    print!("{}", String::from_utf8_lossy(&output.stdout));
    // A closed standard error leaves nowhere to complain to.
    let _ = std::io::stderr().write_all(&output.stderr);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_known_by_its_name_or_by_the_one_it_is_like() {
        let cases = [
            ("NAME=x\nID=debian\n", Some(PackageManager::Apt)),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Some(PackageManager::Apt)),
            ("ID=fedora\n", Some(PackageManager::Dnf)),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Some(PackageManager::Dnf)),
            ("ID=arch\n", Some(PackageManager::Pacman)),
            ("ID=alpine\n", Some(PackageManager::Apk)),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Some(PackageManager::Zypper)),
            ("ID=nixos\n", None),
            ("", None),
        ];
        for (release, expected) in cases {
            assert_eq!(PackageManager::of(release), expected, "{release}");
        }
    }

    #[test]
    fn the_command_to_run_by_hand_is_exact() {
        let apt = PackageManager::Apt;
        assert_eq!(
            apt.by_hand(Interface::Vulkan, Rights::Nothing),
            "sudo apt-get update && sudo apt-get install -y libvulkan1 mesa-vulkan-drivers"
        );
        assert_eq!(
            apt.by_hand(Interface::OpenGl, Rights::Root),
            "apt-get update && apt-get install -y libegl1 libgl1-mesa-dri"
        );
        let advice = advice(Interface::Vulkan, Some(PackageManager::Dnf), Rights::Nothing, "no apt");
        assert!(advice.contains("\n    sudo dnf install -y vulkan-loader mesa-vulkan-drivers\n"), "{advice}");
    }

    #[test]
    fn an_unknown_system_gets_a_hint() {
        let advice = advice(Interface::Vulkan, None, Rights::Nothing, "no apt");
        assert!(advice.contains("Vulkan loader and Mesa's software driver"), "{advice}");
        assert!(advice.contains("--assume-driver"), "{advice}");
    }

    #[test]
    fn apt_is_called_without_prompts() {
        let command = apt(&["sudo", "-n"], &["update"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(command.get_program(), "sudo");
        assert_eq!(words, ["-n", "env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "apt-get", "update"]);
        assert_eq!(apt(&[], &["update"]).get_program(), "env");
    }

    #[test]
    fn a_held_lock_is_distinguished_from_other_failures() {
        let held = b"E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\n";
        assert!(held_by_another(held));
        assert!(!held_by_another(b"E: The repository has no Release file.\n"));
    }
}
